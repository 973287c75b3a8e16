"""`edgekit doctor`: the real command here and over SSH, and facts of other machines for its rules.

What is shown of a Raspberry Pi, a phone or an Edge TPU is what the rules make of facts written by
hand or of a made-up /sys; none was there.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from devices_support import SshServer, StandInAdb, leftovers, ssh_server, userland

import edgekit
from edgekit.cli import doctor as cli
from edgekit.cli.main import VERBS
from edgekit.devices import DeviceFacts
from edgekit.doctor import EVERY, PURPOSES, Finding, look, requirements, tiny, trials
from edgekit.doctor.desk import gather
from edgekit.doctor.examine import AREAS, host_here, judge
from edgekit.doctor.facts import (
    Conflict,
    Desk,
    Facts,
    Look,
    Need,
    Node,
    Packages,
    RemotePython,
    RuntimeTrial,
    Tool,
    Trial,
)
from edgekit.errors import UsageError

Run = Callable[..., subprocess.CompletedProcess[str]]
_GIB = 1 << 30
WORKS = Trial("works")


# --- facts of a machine where all is well, and what can be changed of it


def host(**changes: Any) -> DeviceFacts:
    well = DeviceFacts("linux", "x86_64", "glibc 2.36", 4, "/home/me/.cache/edgekit", 20 * _GIB)
    return dataclasses.replace(well, **changes)


def packages(**changes: Any) -> Packages:
    installed = changes.pop("installed", {})
    well = {
        "edgekit": "0.1.0",
        "numpy": "2.4.6",
        "opencv-python": "5.0.0.93",
        "ai-edge-litert": "2.3.0",
    }
    versions = {k: v for k, v in {**well, **installed}.items() if v is not None}
    needs = (
        Need("numpy", ">=1.26", "", "2.4.6", True),
        Need("opencv-python", ">=4.10", "", "5.0.0.93", True),
        Need("ai-edge-litert", "==2.3.0", "", "2.3.0", True),
        Need("litert-quantizer", "==0.11.0", "convert", "0.11.0", True),
    )
    start = Packages(needs, requires_python=">=3.10", installed=tuple(versions.items()))
    return dataclasses.replace(start, **changes)


def desk(**changes: Any) -> Desk:
    names = ("edgetpu_compiler", "adb", "ssh", "npm")
    well = Desk(
        python=(3, 11, 7),
        packages=packages(),
        runtime=RuntimeTrial(WORKS, "ai-edge-litert 2.3.0", xnnpack=True),
        opencv=Trial("works", "5.0.0 QT5"),
        window=WORKS,
        edgetpu=WORKS,
        opencl=Trial("works", "1"),
        binaries=("aarch64", "x86_64"),
        binary=WORKS,
        tools=(
            *(Tool(n, True, "1.0") for n in names),
            Tool("java", True, 'openjdk version "17.0"'),
        ),
        phones=(("PHONE1", "device"),),
        android_sdk="/opt/sdk",
        android_sdk_there=True,
    )
    return dataclasses.replace(well, **changes)


def seen(**changes: Any) -> Look:
    well = Look(
        kernel="x86_64",
        release="Debian 12",
        uid=1000,
        user="me",
        groups=("me", "video", "plugdev"),
        memory_bytes=8 * _GIB,
        available_bytes=6 * _GIB,
        tmp_free_bytes=20 * _GIB,
        governors=("performance",),
        driver="cpufreq-dt",
        throttled=0,
        temperature_c=45.0,
        cameras=(Node("/dev/video0", True, "video", "USB Camera"),),
        accelerators=(Node("/dev/bus/usb/002/003", True, "plugdev", "18d1:9302"),),
        udev_rule=True,
        libraries=(("libedgetpu.so.1", "/usr/lib/e.so"), ("libOpenCL.so.1", "/usr/lib/o.so")),
        avx=True,
        display=":0",
    )
    return dataclasses.replace(well, **changes)


def local(
    *, on: dict[str, Any] | None = None, sight: dict[str, Any] | None = None, **changes: Any
) -> Facts:
    return Facts(host(**(on or {})), seen(**(sight or {})), desk(**changes))


def board(on: dict[str, Any] | None = None, **changes: Any) -> Facts:
    """A Raspberry Pi, over SSH."""
    python = RemotePython("/usr/bin/python3", "3.11.2", (("numpy", "1.26.4"),))
    pi = {"kernel": "aarch64", "model": "Raspberry Pi 4 Model B Rev 1.4", "avx": None}
    there = {"pythons": (python,), **pi, **changes}
    return Facts(host(**{"machine": "aarch64", **(on or {})}), seen(**there), None)


def armv7(**changes: Any) -> Facts:
    return board({"machine": "armv7l"}, **changes)


def phone(level: int) -> Facts:
    on = {"system": "android", "machine": "aarch64", "libc": "bionic"}
    libraries = (("libOpenCL.so", "/vendor/lib64/libOpenCL.so"),)
    return Facts(host(**on), seen(android_sdk=level, cameras=(), libraries=libraries), None)


def without(name: str) -> dict[str, Any]:
    """A machine that lacks a program."""
    return {"tools": tuple(tool for tool in desk().tools if tool.name != name)}


def needing(*needs: Need, **changes: Any) -> dict[str, Any]:
    return {"packages": packages(needs=needs, **changes)}


def broken_runtime(said: str, name: str | None = None, **changes: Any) -> RuntimeTrial:
    return RuntimeTrial(Trial("refused", said), name, **changes)


NO_RUNTIME = broken_runtime("no TFLite runtime is installed", absent=True)
NUMPY1_ERROR = (  # of tflite-runtime 2.14.0 with numpy 2.4.6, Python 3.11
    "SystemError: <built-in method CreateWrapperFromBuffer of PyCapsule object at 0x7f> returned a "
    "result with an exception set"
)
TFLITE = {"tflite-runtime": "2.14.0", "ai-edge-litert": None}
NO_GL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
QUANTIZER = Conflict("litert-quantizer 0.12.0", "ai-edge-litert==2.4.0", "2.3.0")
LITE2 = RemotePython(
    "/home/pi/.venv/bin/python3",
    "3.11.2",
    (("numpy", "2.2.0"), ("tflite-runtime", "2.14.0")),
    (("tflite_runtime.interpreter", Trial("refused", NUMPY1_ERROR)),),
)


# --- each trap: what the rules make of it, as (facts, what, state, mend, needed for)

Trap = tuple[Facts, str, str, "str | None", tuple[str, ...]]
CONVERT = ("convert", "qat", "train", "tune")
ON_DEVICE = ("benchmark", "verify", "bundle")
USB = Node("/dev/bus/usb/001/004", False, "root", "1a6e:089a")
RPI_IMAGER = "rpi-imager    # on the desk: write Raspberry Pi OS (64-bit)"

TRAPS: dict[str, Trap] = {
    # Python
    "Python 3.9": (
        local(python=(3, 9, 2), packages=packages(python_fits=False)),
        *("version", "broken", "python3.13 -m venv .venv && .venv/bin/pip install edgekit"),
        (EVERY,),
    ),
    "Python newer than LiteRT's wheels": (
        local(python=(3, 15, 0), packages=packages(installed={"ai-edge-litert": None})),
        *("wheel of ai-edge-litert", "missing"),
        "python3.13 -m venv .venv && .venv/bin/pip install edgekit",
        (EVERY,),
    ),
    "Python newer than TensorFlow's wheels": (
        local(python=(3, 14, 0)),
        *("wheel of tensorflow", "missing"),
        'python3.13 -m venv .venv && .venv/bin/pip install "edgekit[convert]"',
        CONVERT,
    ),
    "the system's Python": (
        local(managed=True),
        *("pip", "note", "python3 -m venv .venv && . .venv/bin/activate", ()),
    ),
    "no Python on a board": (
        board(pythons=()),
        *("python3", "missing", "sudo apt install python3 python3-venv", ("bundle",)),
    ),
    "an old Python on a board": (
        board(pythons=(RemotePython("/usr/bin/python3", "3.9.2"),)),
        *("/usr/bin/python3", "note"),
        "sudo apt full-upgrade    # Raspberry Pi OS Bookworm has Python 3.11",
        (),
    ),
    # packages
    "run from a folder": (
        local(packages=packages(needs=None, unread="runs from a folder")),
        *("edgekit", "note", "pip install edgekit", ()),
    ),
    "an old numpy": (
        local(**needing(Need("numpy", ">=1.26", "", "1.21.0", False))),
        *("numpy", "broken", 'pip install "numpy>=1.26"', (EVERY,)),
    ),
    "another LiteRT than edgekit's": (
        local(**needing(Need("ai-edge-litert", "==2.3.0", "", "2.4.0", False))),
        *("ai-edge-litert", "broken", 'pip install "ai-edge-litert==2.3.0"', CONVERT),
    ),
    "an old optuna": (
        local(**needing(Need("optuna", ">=4.9,<5", "train", "3.0", False))),
        *("optuna", "broken", 'pip install "optuna>=4.9,<5"', ("train", "tune")),
    ),
    "no click": (
        local(**needing(Need("click", ">=8.1"))),
        *("click", "missing", 'pip install "click>=8.1"', (EVERY,)),
    ),
    "no TensorFlow": (
        local(**needing(Need("tensorflow", ">=2.20,<2.22", "convert"))),
        *("edgekit[convert]", "missing", 'pip install "edgekit[convert]"', CONVERT),
    ),
    "no tfmot": (
        local(**needing(Need("tensorflow-model-optimization", ">=0.8", "tfmot"))),
        *("edgekit[tfmot]", "missing", 'pip install "edgekit[tfmot]"', ("tfmot",)),
    ),
    "Keras 2": (
        local(packages=packages(installed={"keras": "2.15.0"})),
        *("keras", "broken", 'pip install "keras>=3"', CONVERT),
    ),
    "TF_USE_LEGACY_KERAS with tf-keras": (
        local(packages=packages(installed={"tf-keras": "2.21.0"}), legacy_keras="1"),
        *("TF_USE_LEGACY_KERAS", "note", "unset TF_USE_LEGACY_KERAS", CONVERT),
    ),
    "TF_USE_LEGACY_KERAS without tf-keras": (
        local(legacy_keras="true"),
        *("TF_USE_LEGACY_KERAS", "broken", "unset TF_USE_LEGACY_KERAS", CONVERT),
    ),
    "no AVX": (
        local(sight={"avx": False}),
        *("TensorFlow", "broken", None, CONVERT),
    ),
    "libGL is missing": (
        local(opencv=Trial("refused", NO_GL)),
        *("cv2", "broken", "sudo apt install libgl1", (EVERY,)),
    ),
    "glib is missing": (
        local(opencv=Trial("refused", NO_GL.replace("libGL.so.1", "libgthread-2.0.so.0"))),
        *("cv2", "broken", "sudo apt install libglib2.0-0", (EVERY,)),
    ),
    "no OpenCV": (
        local(opencv=Trial("refused", "ModuleNotFoundError: No module named 'cv2'")),
        *("cv2", "missing", 'pip install "opencv-python>=4.10"', (EVERY,)),
    ),
    "OpenCV crashes": (
        local(opencv=Trial("crashed", "signal 4")),
        *("cv2", "broken", 'pip install --force-reinstall "opencv-python>=4.10"', (EVERY,)),
    ),
    "OpenCV without windows": (
        local(
            opencv=Trial("works", "5.0.0 NONE"),
            packages=packages(
                installed={"opencv-python": None, "opencv-python-headless": "5.0.0.93"}
            ),
        ),
        *("cv2", "note"),
        'pip uninstall -y opencv-python-headless && pip install "opencv-python>=4.10"',
        (),
    ),
    "two OpenCVs that load": (
        local(packages=packages(installed={"opencv-python-headless": "4.9"})),
        *("opencv-python and opencv-python-headless", "note"),
        "pip uninstall -y opencv-python opencv-python-headless && "
        'pip install "opencv-python>=4.10"',
        (EVERY,),
    ),
    "two OpenCVs that don't": (
        local(
            packages=packages(installed={"opencv-python-headless": "4.9"}),
            opencv=Trial("refused", "AttributeError: no attribute 'imread'"),
        ),
        *("opencv-python and opencv-python-headless", "broken"),
        "pip uninstall -y opencv-python opencv-python-headless && "
        'pip install "opencv-python>=4.10"',
        (EVERY,),
    ),
    "litert-quantizer wants another LiteRT": (
        local(packages=packages(conflicts=(QUANTIZER,))),
        *("litert-quantizer and ai-edge-litert", "broken"),
        'pip install "ai-edge-litert==2.3.0" "litert-quantizer==0.11.0"',
        CONVERT,
    ),
    "packages that disagree": (
        local(packages=packages(conflicts=(Conflict("tensorflow 2.21.0", "h5py<3.15", "3.16"),))),
        *("h5py<3.15", "note", 'pip install "h5py<3.15"', ()),
    ),
    # runtime
    "no runtime": (
        local(runtime=NO_RUNTIME),
        *("runtime", "missing", 'pip install "ai-edge-litert==2.3.0"', (EVERY,)),
    ),
    "no runtime for this Python": (
        local(on={"machine": "armv7l"}, runtime=NO_RUNTIME, python=(3, 13, 1)),
        *("tflite-runtime", "missing"),
        "python3.11 -m venv .venv && .venv/bin/pip install edgekit",
        (EVERY,),
    ),
    "no runtime on armv7": (
        local(
            on={"machine": "armv7l"},
            runtime=NO_RUNTIME,
            **needing(Need("tflite-runtime", ">=2.14")),
        ),
        *("runtime", "missing", 'pip install "tflite-runtime>=2.14"', (EVERY,)),
    ),
    "a runtime that crashes": (
        local(runtime=RuntimeTrial(Trial("crashed", "signal 11"))),
        *("runtime", "broken", 'pip install --force-reinstall "ai-edge-litert==2.3.0"', (EVERY,)),
    ),
    "a runtime without numpy": (
        local(runtime=broken_runtime("ModuleNotFoundError: No module named 'numpy'")),
        *("runtime", "broken", 'pip install "numpy>=1.26"', (EVERY,)),
    ),
    "TensorFlow's runtime": (
        local(runtime=RuntimeTrial(WORKS, "tensorflow 2.21.0")),
        *("tensorflow 2.21.0", "note", 'pip install "ai-edge-litert==2.3.0"', ()),
    ),
    "no XNNPACK": (
        local(runtime=RuntimeTrial(WORKS, "tflite-runtime 2.5.0")),
        *("XNNPACK", "note", None, ()),
    ),
    "LiteRT is passed over": (
        local(
            runtime=RuntimeTrial(
                *(WORKS, "tensorflow 2.21.0"),
                refused=(("ai_edge_litert.interpreter", "ImportError: GLIBC_2.34 not found"),),
            )
        ),
        *("import of ai-edge-litert", "note"),
        'pip install --force-reinstall "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "LiteRT can't be imported and nothing else is there": (
        local(
            runtime=broken_runtime(
                "no TFLite runtime is installed",
                absent=True,
                refused=(("ai_edge_litert.interpreter", "ImportError: undefined symbol"),),
            )
        ),
        *("import of ai-edge-litert", "broken"),
        'pip install --force-reinstall "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "tflite-runtime with numpy 2": (
        local(
            packages=packages(installed=TFLITE),
            runtime=broken_runtime(NUMPY1_ERROR, "tflite-runtime 2.14.0"),
        ),
        *("tflite-runtime 2.14.0", "broken"),
        'pip uninstall -y tflite-runtime && pip install "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "tflite-runtime with numpy 2 on armv7": (
        local(
            on={"machine": "armv7l"},
            packages=packages(installed=TFLITE),
            runtime=broken_runtime(NUMPY1_ERROR, "tflite-runtime 2.14.0"),
        ),
        *("tflite-runtime 2.14.0", "broken"),
        'pip install "numpy<2" "opencv-python<4.12"',
        (EVERY,),
    ),
    "tflite-runtime with numpy 2, beside LiteRT": (
        local(packages=packages(installed={"tflite-runtime": "2.14.0"})),
        *("tflite-runtime 2.14.0", "note"),
        'pip uninstall -y tflite-runtime && pip install "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "an old glibc on a Pi": (
        board({"libc": "glibc 2.31"}),
        *("C library", "broken", f"{RPI_IMAGER}, Bookworm or later", ON_DEVICE),
    ),
    "an old glibc elsewhere": (
        board({"libc": "glibc 2.31"}, model="Other board"),
        *("C library", "broken"),
        "sudo apt full-upgrade    # to Debian 12, Ubuntu 22.04 or later",
        ON_DEVICE,
    ),
    "musl": (
        local(on={"libc": "musl"}),
        *("C library", "broken"),
        "docker run -it debian:stable    # or another system with glibc",
        ON_DEVICE,
    ),
    "no binaries": (
        local(binaries=(), binary=None),
        *("edgekit-bench", "missing", "make native", ("benchmark",)),
    ),
    "a binary that doesn't run": (
        local(binary=Trial("refused", "Exec format error")),
        *("edgekit-bench", "broken", "make native", ("benchmark",)),
    ),
    "no library for the binary": (
        local(library=False),
        *("LiteRT's library", "missing", 'pip install "ai-edge-litert==2.3.0"', ("benchmark",)),
    ),
    "nothing runs a model on a board": (
        armv7(),
        *("Python runtime", "missing"),
        "python3 -m venv .venv && .venv/bin/pip install tflite-runtime",
        (EVERY,),
    ),
    "nothing can be installed on a board": (
        armv7(pythons=(RemotePython("/usr/bin/python3", "3.13.5"),)),
        *("tflite-runtime", "missing"),
        "python3.11 -m venv .venv && .venv/bin/pip install edgekit",
        (EVERY,),
    ),
    "tflite-runtime with numpy 2 on a board": (
        armv7(pythons=(LITE2,)),
        *("tflite_runtime in /home/pi/.venv/bin/python3", "broken"),
        '/home/pi/.venv/bin/python3 -m pip install "numpy<2" "opencv-python<4.12"',
        (EVERY,),
    ),
    "libGL on a board": (
        board(pythons=(dataclasses.replace(LITE2, trials=(("cv2", Trial("refused", NO_GL)),)),)),
        *("cv2 in /home/pi/.venv/bin/python3", "broken", "sudo apt install libgl1", ()),
    ),
    "no binary for Android": (phone(34), *("edgekit-bench", "note", None, ())),
    # accelerators
    "no libedgetpu": (
        board(libraries=()),
        *("libedgetpu", "missing", "sudo apt install libedgetpu1-std", ("edgetpu",)),
    ),
    "no Edge TPU": (board(accelerators=()), *("Edge TPU", "missing", None, ("edgetpu",))),
    "an Edge TPU without a udev rule": (
        board(accelerators=(USB,), udev_rule=False),
        *("Edge TPU", "broken"),
        """printf 'SUBSYSTEM=="usb",ATTRS{idVendor}=="%s",GROUP="plugdev"\\n' 1a6e 18d1 """
        "| sudo tee /etc/udev/rules.d/60-libedgetpu1-std.rules "
        "&& sudo udevadm control --reload-rules && sudo udevadm trigger",
        ("edgetpu",),
    ),
    "a user who isn't in plugdev": (
        board(accelerators=(USB,), groups=("me",)),
        *("Edge TPU", "broken"),
        'sudo usermod -aG plugdev "$USER"    # then log out and in again',
        ("edgetpu",),
    ),
    "a rule that wasn't applied": (
        board(accelerators=(USB,)),
        *("Edge TPU", "broken"),
        "sudo udevadm control --reload-rules && sudo udevadm trigger",
        ("edgetpu",),
    ),
    "an Edge TPU on PCIe that isn't ours": (
        board(accelerators=(Node("/dev/apex_0", False, "apex", "PCIe"),), udev_rule=False),
        *("Edge TPU", "broken"),
        'sudo usermod -aG apex "$USER"    # then log out and in again',
        ("edgetpu",),
    ),
    "an Edge TPU that doesn't start": (
        local(edgetpu=Trial("refused", "delegate edgetpu: can't start it")),
        *("Edge TPU delegate", "broken"),
        "sudo apt install --reinstall libedgetpu1-std    # then plug it in again",
        ("edgetpu",),
    ),
    "no OpenCL": (
        local(sight={"libraries": ()}, opencl=None),
        *("OpenCL", "missing", "sudo apt install ocl-icd-libopencl1", ("gpu",)),
    ),
    "OpenCL without a driver": (
        local(opencl=Trial("works", "0")),
        *("OpenCL", "missing"),
        "sudo apt install mesa-opencl-icd    # or the driver of the GPU's maker",
        ("gpu",),
    ),
    "OpenCL that crashes": (
        local(opencl=Trial("crashed", "signal 11")),
        *("OpenCL", "broken", "sudo apt install ocl-icd-libopencl1", ("gpu",)),
    ),
    "NNAPI on Android 15": (
        phone(35),
        *("NNAPI", "note", "edgekit benchmark MODEL --on adb --delegate gpu", ("nnapi",)),
    ),
    "NNAPI on Android 8.0": (phone(26), *("NNAPI", "missing", None, ("nnapi",))),
    # tools
    "no edgetpu_compiler": (
        local(**without("edgetpu_compiler")),
        *("edgetpu_compiler", "missing", "sudo apt install edgetpu-compiler"),
        ("edgetpu_compiler",),
    ),
    "no edgetpu_compiler for Arm": (
        local(on={"machine": "aarch64"}, **without("edgetpu_compiler")),
        *("edgetpu_compiler", "missing", None, ("edgetpu_compiler",)),
    ),
    "no adb": (
        local(**without("adb")),
        *("adb", "missing", "sudo apt install adb", ("adb",)),
    ),
    "a phone that doesn't trust us": (
        local(phones=(("PHONE1", "unauthorized"),)),
        *("adb:PHONE1", "broken", "adb reconnect", ("adb",)),
    ),
    "a phone without udev rules": (
        local(phones=(("PHONE1", "no permissions (user in plugdev group); see ..."),)),
        *("adb:PHONE1", "broken"),
        "sudo apt install android-sdk-platform-tools-common",
        ("adb",),
    ),
    "no ssh": (
        local(**without("ssh")),
        *("ssh", "missing", "sudo apt install openssh-client", ("ssh",)),
    ),
    "no java": (
        local(**without("java")),
        *("java", "missing", "sudo apt install openjdk-17-jdk-headless", ("android",)),
    ),
    "an old java": (
        local(tools=(Tool("java", True, 'openjdk version "11.0.2" 2019-01-15'),)),
        *("java", "broken", "sudo apt install openjdk-17-jdk-headless", ("android",)),
    ),
    "no Android SDK": (
        local(android_sdk=None, android_sdk_there=False),
        *("Android SDK", "missing"),
        'export ANDROID_HOME="$HOME/Android/Sdk"    # where Android Studio puts it',
        ("android",),
    ),
    "an Android SDK that isn't there": (
        local(android_sdk_there=False),
        *("Android SDK", "broken"),
        'export ANDROID_HOME="$HOME/Android/Sdk"    # where Android Studio puts it',
        ("android",),
    ),
    "no npm": (local(**without("npm")), *("npm", "note", None, ())),
    # camera
    "no camera": (local(sight={"cameras": ()}), *("camera", "missing", None, ("camera",))),
    "a Pi's codecs are no cameras": (
        board(cameras=(Node("/dev/video10", True, "video", "bcm2835-codec-decode"),)),
        *("camera", "missing", "sudo apt install libcamera-tools", ("camera",)),
    ),
    "a user who isn't in video": (
        local(sight={"cameras": (Node("/dev/video0", False, "video"),), "groups": ("me",)}),
        *("/dev/video0", "broken"),
        'sudo usermod -aG video "$USER"    # then log out and in again',
        ("camera",),
    ),
    "no display": (
        local(sight={"display": ""}, window=None),
        *("display", "note", "edgekit predict MODEL --camera 0 --no-window", ("camera",)),
    ),
    "a display that refuses": (
        local(window=Trial("crashed", "signal 6")),
        *("display", "note", "edgekit predict MODEL --camera 0 --no-window", ("camera",)),
    ),
    # the machine
    "Windows": (
        Facts(host(system="windows", libc=None), None, desk()),
        *("not looked at", "note", None, ()),
    ),
    "32-bit programs on a 64-bit kernel": (
        armv7(),
        *("32-bit userland", "note", RPI_IMAGER, ON_DEVICE),
    ),
    "hardly any memory": (
        local(sight={"available_bytes": 100 << 20}),
        *("memory", "note", "ps aux --sort=-rss | head    # what takes it", ()),
    ),
    "a full disk": (
        local(on={"free_bytes": 0}),
        *("disk for cache", "broken", "pip cache purge"),
        ("models", "train", "tune", "qat", "convert", *ON_DEVICE),
    ),
    "a full disk on a board": (
        board(tmp_free_bytes=5 << 20),
        *("disk for temporary files", "broken", "sudo apt clean"),
        ("models", "train", "tune", "qat", "convert", *ON_DEVICE),
    ),
    "powersave": (
        board(governors=("powersave",)),
        *("CPU governor", "note"),
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        "    # until it is started anew",
        ("benchmark",),
    ),
    "a Pi that throttles": (
        board(throttled=0x50005),
        *("throttling", "broken", "watch vcgencmd get_throttled    # 0x0 is good"),
        ("benchmark",),
    ),
    "a Pi that throttled": (
        board(throttled=0x50000),
        *("throttling", "note"),
        "sudo reboot    # with its own power supply; then look again",
        (),
    ),
    "heat": (board(temperature_c=83.0), *("temperature", "note", None, ())),
}


def of(findings: tuple[Finding, ...], what: str) -> Finding:
    (found,) = [finding for finding in findings if finding.what == what]
    return found


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str) -> None:
    facts, what, state, mend, needed_for = TRAPS[name]
    found = of(judge(facts), what)
    assert (found.state, found.mend, found.needed_for) == (state, mend, needed_for)
    assert found.detail


def test_every_rule_has_a_trap_that_only_it_finds() -> None:
    for area in AREAS:
        for rule in area.RULES:
            if rule.__name__ == "processor":  # says what the machine is, and judges nothing
                continue
            assert any(
                (what, state) == (finding.what, finding.state)
                for facts, what, state, _, _ in TRAPS.values()
                for finding in rule(facts)
            ), f"{area.__name__}.{rule.__name__}"


@pytest.mark.parametrize("facts", [local(), board()], ids=["desk", "board"])
def test_a_machine_where_all_is_well(facts: Facts) -> None:
    findings = judge(facts)
    assert [f for f in findings if f.state != "ok"] == []
    assert len(findings) > 8
    assert [f.mend for f in findings if f.mend is not None] == []


def test_a_board_that_runs_models_by_python_only() -> None:
    works = dataclasses.replace(LITE2, path="/p", trials=(("tflite_runtime.interpreter", WORKS),))
    findings = judge(armv7(pythons=(LITE2, works)))
    assert "use --python" in of(findings, "Python runtime").detail
    assert not any(finding.matters(()) for finding in findings)


def test_powersave_of_drivers_that_follow_the_load() -> None:
    stays = of(judge(board(governors=("powersave",))), "CPU governor").detail
    follows = of(
        judge(local(sight={"governors": ("powersave",), "driver": "intel_pstate"})), "CPU governor"
    ).detail
    assert "stays at its lowest" in stays and "follows the load" in follows


@pytest.mark.parametrize("system", ["windows", "darwin"])
def test_other_systems_are_judged_too(system: str) -> None:
    sight = None if system == "windows" else Look(kernel="arm64")
    facts = Facts(host(system=system, libc=None), sight, desk(binary=None))
    findings = judge(facts)
    assert of(findings, "not looked at").state == "note"
    assert not any(finding.matters(()) for finding in findings)


def test_what_matters() -> None:
    lacks = Finding("Tools", "adb", "missing", "not installed", None, ("adb",))
    assert (
        lacks.matters(("train", "adb")) and not lacks.matters(()) and not lacks.matters(("train",))
    )
    assert Finding("Runtime", "runtime", "missing", "none", None, (EVERY,)).matters(())
    assert not dataclasses.replace(lacks, state="note").matters(("adb",))


# --- the real command, here


def test_here(run_cli: Run) -> None:
    began = time.monotonic()
    done = run_cli("doctor")
    assert time.monotonic() - began < 20, "it is to be quick"
    assert (done.returncode, done.stderr) == (0, "")
    for line in ("Packages\n", "  ok      numpy ", "loads and runs a tiny int8 model\n", "XNNPACK"):
        assert line in done.stdout
    *_, summary, following = done.stdout.splitlines()
    assert summary.startswith("Ready for what every verb needs: ")
    assert following.startswith("Next: edgekit ")


def test_json_here(run_cli: Run) -> None:
    done = run_cli("doctor", "--json", "--for", "predict")
    told = json.loads(done.stdout)
    assert (
        done.returncode == 0 and told["ready"] and (told["on"], told["for"]) == (None, ["predict"])
    )
    by_name = {finding["what"]: finding for finding in told["findings"]}
    assert by_name["numpy"]["state"] == "ok" and np.__version__ in by_name["numpy"]["detail"]
    fields = {"area", "what", "state", "detail", "mend", "needed_for"}
    assert all(set(finding) == fields for finding in told["findings"])


def test_not_ready(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_HOME", "/no/such/folder")
    done = run_cli("doctor", "--for", "android", "--for", "predict")
    assert done.returncode == 1
    assert "BROKEN  Android SDK" in done.stdout
    mending = done.stdout.partition("To mend:\n")[2].partition("\n\n")[0]
    assert 'export ANDROID_HOME="$HOME/Android/Sdk"' in mending
    assert "Not ready for android, predict: " in done.stdout and "Android SDK" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "Next: edgekit doctor --for android --for predict, once that is mended"
    )
    assert json.loads(run_cli("doctor", "--json", "--for", "android").stdout)["ready"] is False


def test_unknown_purpose(run_cli: Run) -> None:
    done = run_cli("doctor", "--for", "trian")
    assert done.returncode == 2
    assert "--for trian" in done.stderr and "train, tune, qat" in done.stderr
    with pytest.raises(UsageError):
        edgekit.doctor(for_="trian")


def test_purposes_are_the_verbs_and_what_help_says() -> None:
    verbs = {name for name, meaning in PURPOSES.items() if meaning == "the verb"}
    assert verbs == set(VERBS) - {"doctor"}
    (option,) = [p for p in cli.command.params if p.name == "asked"]
    written = (getattr(option, "help", "") or "").partition("a verb, or ")[2].partition(";")[0]
    assert written.split(", ") == [name for name in PURPOSES if name not in verbs]
    named = {purpose for _, _, _, _, needed_for in TRAPS.values() for purpose in needed_for}
    assert named <= {EVERY, *PURPOSES}


def test_python_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_HOME", "/no/such/folder")
    assert of(edgekit.doctor(), "numpy").state == "ok"
    assert "Android SDK" in {finding.what for finding in edgekit.doctor(for_=["android"])}
    assert edgekit.doctor(for_="predict") == ()


def test_the_call_stays_one_once_the_package_is_imported() -> None:
    code = (
        "import edgekit; first = edgekit.doctor; import edgekit.doctor.facts; "
        "print(callable(first), callable(edgekit.doctor), edgekit.doctor.EVERY)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split("\n")[0] == (
        "True True every verb"
    )


def test_it_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    """Without numpy, OpenCV, a runtime, pip and edgekit's own metadata it still says so."""
    venv.create(tmp_path / "bare")
    lib = tmp_path / "lib"
    lib.mkdir()
    for package in (edgekit, click):
        folder = Path(str(package.__file__)).parent
        (lib / folder.name).symlink_to(folder)
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", "-m", "edgekit", "doctor"],
        env={"PYTHONPATH": str(lib), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "MISSING cv2" in done.stdout and "BROKEN  runtime" in done.stdout
    assert "what it asks for can't be read" in done.stdout
    mending = done.stdout.partition("To mend:\n")[2].partition("\n\n")[0]
    assert "  pip install opencv-python\n" in mending and "  pip install numpy" in mending


# --- child processes


def test_the_tiny_model_is_sound() -> None:
    interpreter = Interpreter(model_content=tiny.model())
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.array([[1, 2, 3, 4]], np.int8))
    interpreter.invoke()
    index = interpreter.get_output_details()[0]["index"]
    assert interpreter.get_tensor(index).tolist() == [[1 + 4 + 9 + 16 + 5, 4 + 6 + 6 + 4 + 6]]


def test_the_runtime_here() -> None:
    tried = trials.runtime()
    assert tried.trial == WORKS and (tried.name or "").startswith("ai-edge-litert ")
    assert tried.xnnpack and tried.refused == ()


@pytest.mark.parametrize(
    ("code", "trial"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Trial("crashed", "signal 11")),
        ("import time; time.sleep(60)", Trial("hung", "no answer within 0.5 s")),
        ("print('noise'); import no_such_module", None),
        ("sys.exit(3)", Trial("refused", "exit code 3")),
        ("print('all is well')", Trial("works", "all is well")),
    ],
)
def test_trials_that_end_otherwise(code: str, trial: Trial | None) -> None:
    found = trials.python(code, 0.5 if "sleep" in code else 30)
    wanted = Trial("refused", "ModuleNotFoundError: No module named 'no_such_module'")
    assert found == (trial or wanted)


def test_a_program_that_is_not_there() -> None:
    assert trials.run(["/no/such/program"]).outcome == "refused"


def test_a_wrong_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "_OUTPUT", [1, 2])
    told: dict[str, Any] = {}
    tiny._run(told)
    assert "gives a wrong answer: [35, 26]" in told["fault"]


# --- packages


def test_pins_are_read_from_the_metadata_of_edgekit() -> None:
    found = requirements.read()
    assert found.needs is not None and found.python_fits
    needs = {(need.name, need.extra): need for need in found.needs}
    assert needs["ai-edge-litert", ""].wanted.startswith("==")
    assert needs["tensorflow", "convert"].wanted.startswith(">=")
    assert needs["numpy", ""].installed == np.__version__ and needs["numpy", ""].fits
    assert not any(name in ("pytest", "edgekit", "scikit-image") for name, _ in needs)


def distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.99"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires)]))


def test_metadata_of_another_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    distribution(
        *(tmp_path, "edgekit", "9.9"),
        *("numpy>=99", "nothing-of-that-name", 'other-machine; platform_machine == "vax"'),
        *('edgekit[convert]; extra == "train"', 'optuna<1; extra == "train"'),
    )
    distribution(
        tmp_path, "litert-quantizer", "0.12.0", "ai-edge-litert==99.1", "not a requirement"
    )
    found = requirements.read()
    assert [(need.name, need.extra, need.fits) for need in found.needs or ()] == [
        ("numpy", "", False),
        ("nothing-of-that-name", "", False),
        ("optuna", "train", False),
    ]
    assert (found.python_fits, found.requires_python) == (False, ">=3.99")
    installed = found.version("ai-edge-litert")
    assert Conflict("litert-quantizer 0.12.0", "ai-edge-litert==99.1", installed) in found.conflicts


def test_metadata_that_is_not_there() -> None:
    found = requirements.read("no-such-distribution")
    assert found.needs is None and "not installed" in found.unread


# --- what a shell sees, with a /dev, /proc and /sys made up


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


# --- programs on PATH


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_stand_ins_for_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "bin"
    program(bin_, "edgetpu_compiler", "#!/bin/sh\necho Edge TPU Compiler version 16.0.384591198\n")
    program(
        *(bin_, "adb"),
        "#!/bin/sh\nif [ $1 = version ]; then echo Android Debug Bridge version 1.0.41; exit; fi\n"
        "printf '* daemon started\\nList of devices attached\\nPHONE1\\tdevice\\n"
        "PHONE2\\tno permissions (missing udev rules?); see [link]\\n\\n'\n",
    )
    program(bin_, "java", "#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    program(bin_, "ssh", "#!/bin/sh\nexit 255\n")
    monkeypatch.setenv("PATH", f"{bin_}:/bin:/usr/bin")
    for name in ("EDGEKIT_ADB", "EDGEKIT_SSH", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    found = gather(host_here(), Look())
    assert found.tool("edgetpu_compiler").version.endswith("16.0.384591198")
    assert found.phones[0] == ("PHONE1", "device") and found.phones[1][1].startswith("no perm")
    findings = judge(Facts(host_here(), Look(), found))
    assert "sees PHONE1" in of(findings, "adb").detail
    assert of(findings, "adb:PHONE2").mend == "sudo apt install android-sdk-platform-tools-common"
    assert of(findings, "java").state == "broken"
    assert "doesn't say its version" in of(findings, "ssh").detail
    assert of(findings, "Android SDK").state == "missing"


# --- devices


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "on device"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    for server in ssh_server(tmp_path / "server"):
        monkeypatch.setenv("EDGEKIT_SSH", server.command)
        yield server


def test_over_ssh(server: SshServer, folder: Path, run_cli: Run) -> None:
    done = run_cli("doctor", "--on", "ssh:board")
    assert (done.returncode, done.stderr) == (0, "")
    assert "are sent there" in done.stdout and "disk for cache" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: edgekit benchmark MODEL --on ssh:board"
    assert not folder.exists(), "a folder made for the look stays"


def test_over_ssh_what_is_there_stays(server: SshServer, folder: Path) -> None:
    (folder / "cache").mkdir(parents=True)
    edgekit.doctor("ssh:board")
    assert leftovers(folder) == {"cache"}


def test_a_python_on_a_device(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home with this virtual environment in it, by a wrapper, and one that starts nothing."""
    home = tmp_path / "home"
    program(home / "mine" / "bin", "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program(home / "stub" / "bin", "python3", "#!/bin/sh\nexit 9\n")
    monkeypatch.setenv("HOME", str(home))
    findings = edgekit.doctor("local")
    path = f"{home}/mine/bin/python3"
    assert f"numpy {np.__version__}" in of(findings, path).detail
    assert of(findings, f"ai_edge_litert in {path}").state == "ok"
    assert of(findings, f"cv2 in {path}").state == "ok"
    assert not any("stub" in finding.what for finding in findings)


def test_over_adb(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Run
) -> None:
    adb = StandInAdb(tmp_path / "adb")
    adb.prepare(path=f"{tmp_path / 'bin'}:/bin:/usr/bin")
    program(
        *(tmp_path / "bin", "getprop"),
        "#!/bin/sh\ncase $1 in *sdk) echo 35;; *model) echo Pixel 9;; esac\n",
    )
    monkeypatch.setenv("EDGEKIT_ADB", adb.command)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    told = json.loads(run_cli("doctor", "--on", "adb", "--json").stdout)
    by_name = {finding["what"]: finding for finding in told["findings"]}
    assert by_name["NNAPI"]["state"] == "note" and "API level 35" in by_name["NNAPI"]["detail"]
    assert by_name["android"]["detail"].startswith("Pixel 9, ")
    assert "camera" not in by_name and told["on"] == "adb"


def test_a_device_that_can_not_be_reached(
    server: SshServer, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    done = run_cli("doctor", "--on", "ssh:board", "--for", "benchmark")
    assert (done.returncode, done.stdout) == (4, "")
    assert "ssh:board: it refuses the connection" in done.stderr
    assert run_cli("doctor", "--on", "nonsense").returncode == 2
    monkeypatch.setenv("EDGEKIT_SSH", "no-such-ssh")
    assert run_cli("doctor", "--on", "ssh:board").returncode == 5


def test_a_device_with_a_fault_that_was_asked_for(folder: Path, run_cli: Run) -> None:
    # No test machine has an Edge TPU's library.
    done = run_cli("doctor", "--on", "local", "--for", "edgetpu")
    if "ok      libedgetpu" in done.stdout:
        pytest.skip("libedgetpu is installed here")
    assert done.returncode == 1
    assert "To mend, on local:\n  # edgetpu\n  sudo apt install libedgetpu1-std\n" in done.stdout
    assert "MISSING libedgetpu" in done.stdout
