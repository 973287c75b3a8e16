"""What XNNPACK keeps of an operator besides its parameters: indirection buffers.

Its kernels for convolutions with a window, for pooling and for bilinear resizing read pixels by
pointers, which are made once, when the graph is made ready, and kept. The sizes are those of
https://github.com/google/XNNPACK, src/operators: `reshape_igemm` and `reshape_dwconv` in
convolution-nhwc.c, max-pooling-nhwc.c, resize-bilinear-nhwc.c; tails of less than a tile are left
out. (With the flag XNN_FLAG_TRANSIENT_INDIRECTION_BUFFER, which LiteRT doesn't set by itself, they
are made anew for every inference.)
"""

from __future__ import annotations

from edgekit.tflite.model import Operator, Subgraph

#: Of a pointer, on a system of 64 bits.
POINTER_BYTES = 8


def indirection_bytes(operator: Operator, graph: Subgraph) -> int:
    """The bytes of an operator's indirection buffer; 0 where it has none.

    They don't grow with batch and channels: a pointer leads to a whole pixel of the first image.

    * CONV_2D: a pointer for each output pixel and each of the kernel's; none where it is 1 x 1 and
      moves by one pixel, a matrix product;
    * DEPTHWISE_CONV_2D, MAX_POOL_2D: as much, but neighbours in a row share the columns of the
      kernel that overlap, unless it is dilated;
    * RESIZE_BILINEAR: four pointers and two weights for each output pixel.

    Args:
        operator: Of the graph, one that XNNPACK takes.
        graph: Of `edgekit.tflite.read`.
    """
    if not operator.outputs or len(graph.tensors[operator.outputs[0]].shape) != 4:
        return 0
    output = graph.tensors[operator.outputs[0]]
    _, height, width, _ = output.shape
    if operator.name == "RESIZE_BILINEAR":
        return height * width * (4 * POINTER_BYTES + 2 * (4 if output.is_float else 2))
    kernel = _kernel(operator, graph)
    if kernel is None:
        return 0
    rows, columns = kernel
    step = operator.options.get("stride_w", 1)
    if operator.name == "CONV_2D":
        dense = (rows, columns, step, operator.options.get("stride_h", 1)) == (1, 1, 1, 1)
        return 0 if dense else POINTER_BYTES * height * width * rows * columns
    dilated = operator.options.get("dilation_w_factor", 1) > 1
    step = columns if dilated else min(step, columns)
    return POINTER_BYTES * height * rows * (columns + (width - 1) * step)


def _kernel(operator: Operator, graph: Subgraph) -> tuple[int, int] | None:
    """Height and width of the window that the operator moves over the image; None without one."""
    if operator.name == "MAX_POOL_2D":
        return operator.options.get("filter_height", 1), operator.options.get("filter_width", 1)
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(operator.inputs) < 2:
        return None
    shape = graph.tensors[operator.inputs[1]].shape
    return (shape[1], shape[2]) if len(shape) == 4 else None
