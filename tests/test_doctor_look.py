"""`edgekit doctor`: what a shell sees, with a /dev, /proc and /sys made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from devices_support import userland
from doctor_support import program

from edgekit.doctor import look
from edgekit.doctor.facts import RemotePython


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def pi_root(tmp_path: Path) -> Path:
    root = tmp_path / "a pi"
    cpu, usb = "sys/devices/system/cpu/cpu", "sys/bus/usb/devices/2-1"
    write(
        root,
        **{
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/meminfo": "MemTotal:  3884552 kB\nMemFree: 1 kB\nMemAvailable: 3000000 kB\n",
            "proc/cpuinfo": "processor : 0\nFeatures : fp asimd\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            f"{cpu}0/cpufreq/scaling_governor": "ondemand\n",
            f"{cpu}0/cpufreq/scaling_driver": "cpufreq-dt\n",
            f"{cpu}1/cpufreq/scaling_governor": "powersave\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "sys/class/thermal/thermal_zone0/temp": "48686\n",
            "sys/class/thermal/thermal_zone1/temp": "-274000\n",
            "dev/video0": "",
            "dev/video10": "",
            "sys/class/video4linux/video0/name": "USB Camera: A=B|C\n",
            "sys/class/video4linux/video10/name": "bcm2835-codec-decode\n",
            f"{usb}/idVendor": "1a6e\n",
            f"{usb}/idProduct": "089a\n",
            f"{usb}/busnum": "2\n",
            f"{usb}/devnum": "13\n",
            "sys/bus/usb/devices/1-1/idVendor": "1d6b\n",
            "sys/bus/usb/devices/1-1/idProduct": "0002\n",
            "dev/bus/usb/002/013": "",
            "dev/apex_0": "",
            "lib/udev/rules.d/60-libedgetpu1-std.rules": 'ATTRS{idVendor}=="1a6e"\n',
            "usr/lib/aarch64-linux-gnu/libedgetpu.so.1": "",
        },
    )
    return root


@pytest.mark.parametrize("shell", ["sh", "busybox", "toybox"])
def test_look_at_a_made_up_pi(
    pi_root: Path, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shell != "sh":
        path = userland(shell, tmp_path / shell)
        for tool in ("id", "ls", "tr"):
            link = Path(path) / tool
            if not link.exists():
                link.symlink_to((Path(path) / "cat").readlink())
        monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    found = look.look_here(str(pi_root))
    assert found is not None
    assert found.is_raspberry_pi and found.release == "Debian GNU/Linux 12 (bookworm)"
    assert (found.memory_bytes, found.available_bytes) == (3884552 << 10, 3000000 << 10)
    assert (found.governors, found.driver) == (("ondemand", "powersave"), "cpufreq-dt")
    assert (found.throttled, found.temperature_c) == (0x50005, 48.686)
    assert [(n.path, n.label, n.usable) for n in found.cameras] == [
        ("/dev/video0", "USB Camera: A=B|C", True),
        ("/dev/video10", "bcm2835-codec-decode", True),
    ]
    assert [(n.path, n.label) for n in found.accelerators] == [
        ("/dev/bus/usb/002/013", "1a6e:089a"),
        ("/dev/apex_0", "PCIe"),
    ]
    assert found.udev_rule
    assert found.library("libedgetpu.so.1") == "/usr/lib/aarch64-linux-gnu/libedgetpu.so.1"
    assert found.library("libOpenCL.so.1") is None
    assert (found.avx, found.android_sdk, found.display) == (None, None, ":7")
    assert found.groups and found.user and found.tmp_free_bytes


def test_throttling_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels without the firmware's file leave it to vcgencmd."""
    program(tmp_path, "vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50000\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = look.look_here()
    assert found is not None and found.throttled == 0x50000


def test_look_at_an_empty_root(tmp_path: Path) -> None:
    found = look.look_here(str(tmp_path / "nothing"))
    assert found is not None
    assert (found.cameras, found.governors, found.throttled, found.avx) == ((), (), None, None)


@pytest.mark.parametrize(("flags", "avx"), [("fpu sse2 avx avx2", True), ("fpu sse2", False)])
def test_avx_is_read_from_the_flags(tmp_path: Path, flags: str, avx: bool) -> None:
    write(tmp_path, **{"proc/cpuinfo": f"processor : 0\nflags\t\t: {flags}\n"})
    found = look.look_here(str(tmp_path))
    assert found is not None and found.avx is avx


def test_no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert look.look_here() is None


def test_a_shell_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "sh", "#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(look, "_LOCAL_S", 0.2)
    assert look.look_here() is None


def test_reading_what_pythons_said() -> None:
    found = look.parse(
        "python=/a/python3\nversion=3.11.2\npackage=numpy 1.26.4\n"
        "trial=cv2 1 ImportError: x = y\ntrial=ai_edge_litert.interpreter -11 \n"
        "trial=tflite_runtime.interpreter hung \npython=/stub\npython=/b/python3\nversion=3.9.2\n"
    )
    first, second = found.pythons
    assert first.packages == (("numpy", "1.26.4"),)
    assert [tried.outcome for _, tried in first.trials] == ["refused", "crashed", "hung"]
    assert first.trials[0][1].said == "ImportError: x = y"
    assert second == RemotePython("/b/python3", "3.9.2")
