"""Ships a model with all that it needs: the Android app and the Raspberry Pi package.

| module | what it does |
|---|---|
| `shipment` | a model made ready to ship: checked, with its contract, labels and golden vectors |
| `folder` | writes a bundle whole or not at all, and never over somebody's work |
| `android`, `gradle` | the Android demo with the models in place; builds and installs it |
| `pi`, `installing` | the Raspberry Pi package; puts it on a board and verifies it |
| `edgetpu` | Coral's compiler |
| `imports` | which modules a program needs, to ship just those |
| `on_pi` | what runs on the Pi |
"""
