"""Golden vectors: pictures with the bytes that a model's input and output must have for them.

`convert` makes them, and everything that runs the model replays them: edgekit itself, the Android
app, the Raspberry Pi package. Each stage is held against the bytes that were right on the desk, so
that a fault is named where it is: `decode -> fit -> input -> inference`.

| module | what it does |
|---|---|
| `vectors` | the file: `m.golden.zip`, or the same inside the .tflite |
| `pictures` | which pictures are kept: some photos, and a card that shows what photos may hide |
| `making` | runs the model on them |
| `stages` | holds what an implementation answered against what is right |
| `causes` | what could have gone wrong in preprocessing: BGR, another interpolation, no mean, ... |
| `replay` | replays on this machine, or reads what an app answered |
| `on_device` | replays the inference on a board or a phone |
| `words` | what came out, in words |
"""
