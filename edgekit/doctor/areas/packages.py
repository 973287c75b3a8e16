"""Python packages: those that edgekit asks for, and the traps among them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgekit.doctor.areas.mending import EXTRAS, is_armv7, pip_install
from edgekit.doctor.facts import Facts, Need, Packages, Trial
from edgekit.doctor.finding import EVERY, Finding
from edgekit.doctor.requirements import OPENCVS

AREA = "Packages"
#: Other rules say more of these.
_ELSEWHERE = ("ai-edge-litert", "tflite-runtime", "opencv-python")

_WITH_TENSORFLOW = ("convert", "train", "keras2", "tfmot")

#: Debian's packages of the shared libraries that OpenCV's wheels load.
_DEBIAN = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}
_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object")


def metadata(facts: Facts) -> Iterator[Finding]:
    """Whether the pins could be read at all."""
    packages = _packages(facts)
    if packages is not None and packages.needs is None:
        detail = f"what it asks for can't be read: {packages.unread}"
        yield Finding(AREA, "edgekit", "note", detail, "pip install edgekit")


def installed(facts: Facts) -> Iterator[Finding]:
    """Each package that edgekit asks for and that is there, against its pin."""
    packages = _packages(facts)
    for need in _once(packages):
        if need.installed is None:
            continue
        if need.fits:
            wants = f" (edgekit wants {need.wanted})" if need.wanted else ""
            yield Finding(AREA, need.name, "ok", f"{need.installed}{wants}")
        else:
            detail = f"{need.installed}, and edgekit wants {need.wanted}"
            mend = pip_install(need.name + need.wanted)
            yield Finding(AREA, need.name, "broken", detail, mend, _purposes(need))


def missing(facts: Facts) -> Iterator[Finding]:
    """Packages that aren't there; those of an extra in one line."""
    packages = _packages(facts)
    if packages is None:
        return
    lacking = [need for need in packages.needs or () if need.installed is None]
    for need in lacking:
        if not need.extra and need.name not in _ELSEWHERE:
            line = pip_install(need.name + need.wanted)
            yield Finding(AREA, need.name, "missing", "not installed", line, (EVERY,))
    for extra, purposes in EXTRAS.items():
        names = [need.name for need in lacking if need.extra == extra]
        if not names:
            continue
        detail = f"not installed: {', '.join(names)}"
        mend: str | None = pip_install(f"edgekit[{extra}]")
        if extra in _WITH_TENSORFLOW and is_armv7(facts):
            detail, mend = f"{detail}; TensorFlow has no wheel for 32-bit Arm", None
        yield Finding(AREA, f"edgekit[{extra}]", "missing", detail, mend, purposes)


def conflicts(facts: Facts) -> Iterator[Finding]:
    """What packages ask of each other and don't get."""
    packages = _packages(facts)
    for conflict in () if packages is None else packages.conflicts:
        if conflict.package.startswith("litert-quantizer") and "litert" in conflict.wants:
            continue  # `quantizer_pair` knows the way out
        has = f"{conflict.installed} is installed" if conflict.installed else "it is not installed"
        detail = f"{conflict.package} asks for it, and {has}"
        yield Finding(AREA, conflict.wants, "note", detail, pip_install(conflict.wants))


def quantizer_pair(facts: Facts) -> Iterator[Finding]:
    """Calibration needs the very ai-edge-litert that litert-quantizer is pinned to."""
    packages = _packages(facts)
    for conflict in () if packages is None else packages.conflicts:
        if conflict.package.startswith("litert-quantizer") and "litert" in conflict.wants:
            assert packages is not None
            yield Finding(
                *(AREA, "litert-quantizer and ai-edge-litert", "broken"),
                f"{conflict.package} wants {conflict.wants}, and {conflict.installed or 'none'} "
                "is installed",
                pip_install(packages.pin("ai-edge-litert"), packages.pin("litert-quantizer")),
                EXTRAS["convert"],
            )


def keras(facts: Facts) -> Iterator[Finding]:
    """Keras 3 is what edgekit trains with; it comes with TensorFlow."""
    packages = _packages(facts)
    version = None if packages is None else packages.version("keras")
    if version is None:
        return
    if int(version.partition(".")[0]) < 3:
        detail = f"{version}: edgekit trains and converts with Keras 3"
        yield Finding(AREA, "keras", "broken", detail, pip_install("keras>=3"), EXTRAS["convert"])
    else:
        yield Finding(AREA, "keras", "ok", version)


def legacy_keras(facts: Facts) -> Iterator[Finding]:
    """TF_USE_LEGACY_KERAS makes `tf.keras` Keras 2, while `keras` stays Keras 3."""
    if facts.desk is None or (facts.desk.legacy_keras or "0").lower() in ("0", "false"):
        return
    has_keras2 = facts.desk.packages.version("tf-keras") is not None
    yield Finding(
        *(AREA, "TF_USE_LEGACY_KERAS", "note" if has_keras2 else "broken"),
        f"is {facts.desk.legacy_keras}: tf.keras is Keras 2, keras is Keras 3, and models of one "
        "can't be read by the other"
        + ("" if has_keras2 else "; and tf-keras, which it needs, is not installed"),
        "unset TF_USE_LEGACY_KERAS",
        EXTRAS["convert"],
    )


def avx(facts: Facts) -> Iterator[Finding]:
    """TensorFlow's wheels use AVX since 1.6 (tensorflow.org/install/pip): an old CPU ends them."""
    if facts.desk is not None and facts.look is not None and facts.look.avx is False:
        detail = "this processor has no AVX: TensorFlow's wheels end with an illegal instruction"
        yield Finding(AREA, "TensorFlow", "broken", detail, None, EXTRAS["convert"])


def opencv(facts: Facts) -> Iterator[Finding]:
    """Whether OpenCV really loads, and why not."""
    if facts.desk is None:
        return
    tried, wanted = facts.desk.opencv, facts.desk.packages.pin("opencv-python")
    if tried.outcome == "works":
        version, _, windows = tried.said.partition(" ")
        if windows == "NONE":
            detail = f"OpenCV {version} loads; it was built without windows, for predict --camera"
            several = sum(name in OPENCVS for name, _ in facts.desk.packages.installed) > 1
            mend = None if several else _instead("opencv-python-headless", wanted)
            yield Finding(AREA, "cv2", "note", detail, mend)
        else:
            yield Finding(AREA, "cv2", "ok", f"OpenCV {version} loads")
    elif "No module named 'cv2'" in tried.said:
        mend = pip_install(wanted)
        yield Finding(AREA, "cv2", "missing", "OpenCV is not installed", mend, (EVERY,))
    else:
        detail, mend = why_not(tried, wanted)
        yield Finding(AREA, "cv2", "broken", detail, mend, (EVERY,))


def several_opencvs(facts: Facts) -> Iterator[Finding]:
    """OpenCV's wheels have the same files: who comes last wins, and who goes takes them along."""
    packages = _packages(facts)
    names = [] if packages is None else [n for n, _ in packages.installed if n in OPENCVS]
    if packages is None or facts.desk is None or len(names) < 2:
        return
    yield Finding(
        *(AREA, " and ".join(names), "note" if facts.desk.opencv.outcome == "works" else "broken"),
        "are one package under several names: they overwrite each other's files",
        f"pip uninstall -y {' '.join(names)} && {pip_install(packages.pin('opencv-python'))}",
        (EVERY,),
    )


def why_not(tried: Trial, wanted: str) -> tuple[str, str]:
    """Why OpenCV doesn't load, and the line that mends it."""
    library = _LIBRARY.search(tried.said)
    if library is not None and library[1] in _DEBIAN:
        detail = f"{library[1]} is missing (or take opencv-python-headless, which needs none)"
        return detail, f"sudo apt install {_DEBIAN[library[1]]}"
    again = wanted.replace("opencv-python", "--force-reinstall opencv-python", 1)
    words = again.split(" ")
    return tried.in_words, f"pip install {words[0]} {pip_install(words[1])[len('pip install ') :]}"


def _instead(name: str, wanted: str) -> str:
    return f"pip uninstall -y {name} && {pip_install(wanted)}"


def _packages(facts: Facts) -> Packages | None:
    return None if facts.desk is None else facts.desk.packages


def _once(packages: Packages | None) -> Iterator[Need]:
    """Each package once, though it may belong to several extras."""
    seen = set()
    for need in () if packages is None else packages.needs or ():
        if need.name not in seen:
            seen.add(need.name)
            yield need


def _purposes(need: Need) -> tuple[str, ...]:
    if need.name == "ai-edge-litert":  # pinned for a private module that calibration uses
        return EXTRAS["convert"]
    return EXTRAS[need.extra] if need.extra else (EVERY,)


RULES = (
    *(metadata, installed, missing, keras, opencv),
    *(several_opencvs, quantizer_pair, conflicts, legacy_keras, avx),
)
