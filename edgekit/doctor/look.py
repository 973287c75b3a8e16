"""What a POSIX shell sees of a machine, this one or a device: one script, and the reading of it.

It only looks. The shells and tools of Debian, busybox and Android (mksh, toybox) will do; what a
system doesn't have is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

from edgekit.benchmark.artefacts import PYTHONS
from edgekit.devices import Device
from edgekit.devices.facts import FREE_KIB
from edgekit.devices.transport import quote
from edgekit.doctor.facts import Look, Node, RemotePython, Trial
from edgekit.errors import RuntimeFailure

_LOCAL_S, _DEVICE_S = 10, 120
#: Sensors that report nothing give 0, -274000, or 2**31 or so.
_PLAUSIBLE_C = (1, 150)

#: 1a6e:089a is Coral's USB accelerator as it is plugged in, 18d1:9302 with its firmware loaded.
_LOOK = (
    FREE_KIB
    + r"""
say() { printf '%s=%s\n' "$1" "$2"; }
first() { value=; if [ -f "$1" ] && [ -r "$1" ]; then IFS= read -r value <"$1" 2>/dev/null; fi; }
node() {
  use=no; if [ -r "$2" ] && [ -w "$2" ]; then use=yes; fi
  set -- "$1" "$2" "$3" $(ls -ld "$2" 2>/dev/null)
  say "$1" "$use ${7:--} ${2#"$root"}|$3"
}
say kernel "$(uname -m)"
say uid "$(id -u 2>/dev/null)"
say user "$(id -un 2>/dev/null)"
say groups "$(id -Gn 2>/dev/null)"
say display "${WAYLAND_DISPLAY:-${DISPLAY-}}"
first "$root/proc/device-tree/model"; say model "$value"
say release "$(grep -s '^PRETTY_NAME=' "$root/etc/os-release")"
if command -v getprop >/dev/null 2>&1; then
  say android_sdk "$(getprop ro.build.version.sdk)"
  say model "$(getprop ro.product.model)"
fi
grep -s '^Mem[TA][a-z]*:' "$root/proc/meminfo"
if grep -qs '^flags' "$root/proc/cpuinfo"; then
  if grep -qsw avx "$root/proc/cpuinfo"; then say avx yes; else say avx no; fi
fi
say tmp "$(cd "${TMPDIR:-/tmp}" 2>/dev/null && free_kib)"
for file in "$root"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do
  first "$file"; [ -z "$value" ] || say governor "$value"
  first "${file%governor}driver"; [ -z "$value" ] || say driver "$value"
done
first "$root/sys/devices/platform/soc/soc:firmware/get_throttled"
if [ -z "$value" ] && [ -z "$root" ]; then value=$(vcgencmd get_throttled 2>/dev/null); fi
say throttled "$value"
for file in "$root"/sys/class/thermal/thermal_zone*/temp; do
  first "$file"; [ -z "$value" ] || say temperature "$value"
done
for file in "$root"/dev/video[0-9]*; do
  [ -e "$file" ] || continue
  first "$root/sys/class/video4linux/${file##*/}/name"
  node video "$file" "$value"
done
for usb in "$root"/sys/bus/usb/devices/*; do
  first "$usb/idVendor"; id=$value
  first "$usb/idProduct"; id=$id:$value
  case $id in 1a6e:089a|18d1:9302) ;; *) continue;; esac
  first "$usb/busnum"; bus=$value
  first "$usb/devnum"
  node accelerator "$(printf '%s/dev/bus/usb/%03d/%03d' "$root" "$bus" "$value")" "$id"
done
for file in "$root"/dev/apex_*; do
  [ ! -e "$file" ] || node accelerator "$file" PCIe
done
for folder in "$root"/etc/udev/rules.d "$root"/lib/udev/rules.d "$root"/usr/lib/udev/rules.d; do
  if grep -qs 1a6e "$folder"/*.rules; then say udev_rule yes; break; fi
done
for name in libedgetpu.so.1 libOpenCL.so.1 libOpenCL.so libneuralnetworks.so; do
  for folder in /usr/local/lib /usr/lib /lib /usr/lib64 /system/lib64 /vendor/lib64 \
                "$root"/usr/lib/*-linux-* "$root"/lib/*-linux-* /system/lib /vendor/lib; do
    file=$root${folder#"$root"}/$name
    if [ -e "$file" ]; then say library "$name ${file#"$root"}"; break; fi
  done
done
"""
)

#: Runs in each Python of a device, from 3.6 on. Each try is a process of its own: one that crashes
#: or hangs is an answer too. A runtime is given models: an import may go well and they not.
_IN_PYTHON = r"""
import subprocess, sys
from importlib.util import find_spec
print("version=%d.%d.%d" % sys.version_info[:3])
try:
    from importlib.metadata import PackageNotFoundError, version
except ImportError:
    version = None
for name in sys.argv[1].split() if version else ():
    try:
        print("package=%s %s" % (name, version(name)))
    except PackageNotFoundError:
        pass
for module in sys.argv[2].split():
    if find_spec(module.partition(".")[0]) is None:
        continue
    code = "import sys; module, probes = sys.argv[1:]" + sys.argv[4]
    child = subprocess.Popen([sys.executable, "-c", "import cv2" if module == "cv2" else code,
                              module, sys.argv[3]], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wrong, said = (out.decode("utf-8", "replace") for out in child.communicate(timeout=20))
        said = said.strip().rpartition("\n")[2]
        print("trial=%s %d %s" % (module, child.returncode, said))
        for line in wrong.splitlines():
            print("wrong=%s %s" % (module, line))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        print("trial=%s hung " % module)
"""
_PACKAGES = "numpy ai-edge-litert tflite-runtime opencv-python opencv-python-headless edgekit"
_MODULES = "ai_edge_litert.interpreter tflite_runtime.interpreter cv2"


def _in_pythons() -> str:
    """What is tried in each Python of a device."""
    from edgekit.runtime import probes  # numpy may not be here

    return f"""
count=0
for python in {PYTHONS}; do
  command -v "$python" >/dev/null 2>&1 || continue
  count=$((count + 1)); [ "$count" -le 5 ] || break
  say python "$(command -v "$python")"
  "$python" -c {quote(_IN_PYTHON)} '{_PACKAGES}' '{_MODULES}' {quote(probes.as_json())} \\
    {quote(probes.TRY)} </dev/null 2>/dev/null
done
"""


#: A folder that was only made for the look doesn't stay; one with something in it does.
_LEAVE = 'cd / && rmdir "$ours" 2>/dev/null\n:'


def look_here(root: str = "") -> Look | None:
    """Looks at this machine.

    Args:
        root: Where its /dev, /etc, /proc and /sys are, for a test.

    Returns:
        What was seen, or None where no POSIX shell is, or it gave no answer in time.
    """
    shell = shutil.which("sh")
    if shell is None or os.name != "posix":  # Git's sh on Windows sees another system
        return None
    try:
        done = subprocess.run(
            [shell, "-c", f"root={quote(root)}\n{_LOOK}:"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LOCAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return parse(done.stdout.decode(errors="replace"))


def look_at(device: Device) -> Look:
    """Looks at an open device, and at the Pythons there.

    Raises:
        RuntimeFailure: The line broke, or no answer came in time.
    """
    ours = quote(device.facts.folder)
    script = f"root=\nours={ours}\n{_LOOK}{_in_pythons()}{_LEAVE}"
    done = device.shell(script, timeout_s=_DEVICE_S)
    if done.exit_code != 0:
        raise RuntimeFailure(f"{device.name}: the look at it failed: {done.last_words}")
    return parse(done.stdout.decode(errors="replace"))


def parse(text: str) -> Look:
    """Reads what the script printed; lines that are none of its own are skipped."""
    lines = [line.partition("=")[::2] for line in text.splitlines() if "=" in line]

    def every(key: str) -> list[str]:
        return [value for name, value in lines if name == key and value]

    def last(key: str) -> str:
        return (every(key) or [""])[-1].strip("\0 ")

    memory = {
        words[0]: int(words[1]) * 1024
        for words in (line.split() for line in text.splitlines())
        if len(words) == 3 and words[0] in ("MemTotal:", "MemAvailable:") and words[1].isdigit()
    }
    return Look(
        kernel=last("kernel"),
        model=last("model"),
        release=last("release").partition("=")[2].strip("\"'"),
        uid=_number(last("uid")),
        user=last("user"),
        groups=tuple(last("groups").split()),
        memory_bytes=memory.get("MemTotal:"),
        available_bytes=memory.get("MemAvailable:"),
        tmp_free_bytes=_number(last("tmp"), lambda text: int(text) * 1024),
        governors=tuple(sorted(set(every("governor")))),
        driver=last("driver"),
        throttled=_number(last("throttled").removeprefix("throttled="), lambda t: int(t, 16)),
        temperature_c=_hottest(every("temperature")),
        cameras=tuple(map(_node, every("video"))),
        accelerators=tuple(map(_node, every("accelerator"))),
        udev_rule=bool(last("udev_rule")),
        libraries=tuple(_pair(value) for value in every("library")),
        android_sdk=_number(last("android_sdk")),
        avx={"yes": True, "no": False}.get(last("avx")),
        display=last("display"),
        pythons=tuple(_pythons(lines)),
    )


def _pythons(lines: list[tuple[str, str]]) -> Iterator[RemotePython]:
    path, version = "", ""
    packages: list[tuple[str, str]] = []
    trials: list[tuple[str, Trial]] = []
    wrong: list[tuple[str, str]] = []
    for key, value in [*lines, ("python", "")]:
        if key == "python":
            if path and version:  # what is called python3 may be a stub that starts nothing
                yield RemotePython(path, version, tuple(packages), tuple(trials), tuple(wrong))
            path, version, packages, trials, wrong = value, "", [], [], []
        elif key == "version":
            version = value
        elif key == "package":
            packages.append(_pair(value))
        elif key == "wrong":
            wrong.append(_pair(value))
        elif key == "trial":
            module, rest = _pair(value)
            code, said = _pair(rest)
            trials.append((module, _import(code, said)))


def _import(code: str, said: str) -> Trial:
    if code == "hung":
        return Trial("hung", "no answer within 20 s")
    number = int(code)
    if number < 0:
        return Trial("crashed", f"signal {-number}")
    return Trial("refused" if number else "works", said)


def _node(value: str) -> Node:
    place, _, label = value.partition("|")
    use, group, path = place.split(" ", 2)
    return Node(path, use == "yes", "" if group == "-" else group, label)


def _pair(value: str) -> tuple[str, str]:
    first, _, rest = value.partition(" ")
    return first, rest


def _number(text: str, read: Callable[[str], int] = int) -> int | None:
    try:
        return read(text)
    except ValueError:
        return None


def _hottest(values: list[str]) -> float | None:
    low, high = _PLAUSIBLE_C
    degrees = [int(v) / 1000 for v in values if v.lstrip("-").isdigit()]
    return max((c for c in degrees if low <= c <= high), default=None)
