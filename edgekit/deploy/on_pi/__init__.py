"""What runs on the Pi: `classify.py` in the package is a door to `program`.

It is shipped as it stands here, with the modules of edgekit that it imports, and needs numpy,
OpenCV and a TFLite runtime only. `files/` holds what lies beside it in the package.

| module | what it does |
|---|---|
| `program` | the command line |
| `package` | the folder that was shipped |
| `starting` | loads the model, on the Edge TPU where there is one, and checks its answers |
| `server` | the page in the browser |
"""
