"""What an Android delegate will leave to the CPU, as far as documents tell.

What really happens is the phone's to say, and the app shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit import targets, tflite
from edgekit.deploy.shipment import Shipment
from edgekit.errors import UsageError

#: Delegate -> target.
CHOICES = {"gpu": "android_gpu", "nnapi": "android_nnapi"}


def remarks(shipped: Shipment, planned: Sequence[str]) -> Iterator[str]:
    """What should be known of a model before it runs with some delegates.

    Args:
        shipped: The model.
        planned: Some of `CHOICES`.

    Raises:
        UsageError: A delegate is none of them.
    """
    for delegate in planned:
        if delegate not in CHOICES:
            raise UsageError(f"delegate {delegate!r} is none of {', '.join(CHOICES)}")
        target = targets.find(CHOICES[delegate])
        placement = targets.place(tflite.read(shipped.model, str(shipped.path)), target)
        taken = len(placement.ops) - len(placement.left)
        yield (
            f"{shipped.path.name} on {target.title}: {taken} of {len(placement.ops)} ops expected "
            "there, the others on the CPU."
        )
        for op, reason, advice, count in placement.causes():
            yield f"  {count} x {op} {reason}. {advice or ''}".rstrip()
