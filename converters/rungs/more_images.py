"""More calibration images: all there are, where a conversion alone takes a sample."""

from __future__ import annotations

from edgekit.converters.rungs.draft import Draft, Material, Progress, Skipped, recalibrated


def use_all_images(draft: Draft, material: Material, progress: Progress) -> Draft:
    """Calibrates on all images.

    Raises:
        Skipped: The draft has been calibrated on all already.
    """
    count = len(material.pictures)
    if count <= draft.options.samples:
        raise Skipped(f"all {count} calibration images are in use already")
    return recalibrated(draft, draft.base, material, progress)
