"""Public value types that more than one room shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model.

    Attributes:
        name: Its name in the file.
        index: Its index in the main subgraph.
        shape: Its shape, the batch included, such as (1, 224, 224, 3).
        dtype: Its numpy dtype name, such as `int8`.
        scale: The size of a quantization step in real units, or None for a float tensor.
        zero_point: The quantized value that means 0.0, or None for a float tensor.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def quantization(self) -> tuple[float, int] | None:
        """(scale, zero point), or None for a float tensor."""
        if self.scale is None or self.zero_point is None:
            return None
        return self.scale, self.zero_point

    def dequantize(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Real values, float32 of the same shape: `(values - zero_point) * scale`."""
        if self.scale is None or self.zero_point is None:
            return values.astype(np.float32)
        real = (values.astype(np.int32) - self.zero_point) * np.float32(self.scale)
        return real.astype(np.float32)
