"""The command line: one thin file a verb. Parse, call, render."""
