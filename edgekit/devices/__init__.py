"""How edgekit reaches a machine and runs a program there: this one, over SSH, over adb.

    with open_device("ssh:pi@raspberrypi.local", notify=print) as device:
        print(device.facts.machine, device.facts.libc)
        with device.lock("benchmark of m.tflite"):
            bench = device.put(Path("edgekit-bench"), executable=True)
            model = device.put(Path("m.tflite"))
            done = device.run([bench, model], on_stderr=print)

The parts, from the bottom up:

| module | what it does |
|---|---|
| `transport` | run an sh script on the device and know that it really ended |
| `local`, `ssh`, `adb` | three roads: which command runs a script there, and why it failed |
| `connection` | open the road again where it broke |
| `facts` | what the device is, and where our files go |
| `cache` | files named by their hash, checked after copying |
| `lock` | one edgekit at a time |
| `jobs` | programs that outlive the connection |
| `device` | the façade |

All that happens on a device is written once, in POSIX sh that dash, bash, busybox and Android's
mksh with toybox understand. On the device there is one folder: `/data/local/tmp/edgekit` on
Android, `${XDG_CACHE_HOME:-~/.cache}/edgekit` elsewhere, or what EDGEKIT_DEVICE_FOLDER says here.
EDGEKIT_SSH and EDGEKIT_ADB replace the commands `ssh` and `adb`.

What is left on the device after any ending of ours, a killed process and a cut cable included:
the cache. A run that nobody waits for ends itself after a grace time, removes its outputs and
releases the lock. `Device.clean` removes the cache too.
"""

from __future__ import annotations

from edgekit.devices.device import FORMS, Device, open_device
from edgekit.devices.facts import DeviceFacts
from edgekit.devices.jobs import RunInterrupted, RunLost
from edgekit.devices.transport import ConnectionLost, Finished

__all__ = [
    "FORMS",
    "ConnectionLost",
    "Device",
    "DeviceFacts",
    "Finished",
    "RunInterrupted",
    "RunLost",
    "open_device",
]
