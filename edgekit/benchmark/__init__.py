"""The on-device benchmark: what drives the native binary, its statistics, and the comparison.

`document` is what is kept, `statistics`, `verdict` and `compare` say how sure it is, `plan` and
`driver` measure it on a device, and `artefacts` finds the binary and the runtime for one.
"""
