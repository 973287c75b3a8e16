"""Where a quantized file loses accuracy, layer by layer, and what to try.

`inspecting.diagnose` is the façade: `match -> shadow -> measure -> judge`. Each stage is a module
here and can be called alone.
"""
