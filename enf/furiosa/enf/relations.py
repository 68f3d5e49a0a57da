"""How the operands and parameters of an instruction must fit together; one function a kind of instruction.

Each returns a sentence where they do not, else None.  What they and the ranges of the instruction table let through, an
implementation can run without reading outside an operand, dividing by zero, or needing much more memory than SRAM.
"""

from __future__ import annotations

from furiosa.enf.machine import Region, Rounding

Params = dict[str, float]

# Elements that an implementation may need at a time beyond the operands; SRAM of the largest target holds 1 << 25.
# Padded: an input with its padding, stretched to the output's channels where each of them reads one of the input's.
# Patches: the windows of one row of outputs side by side, as a matrix; a convolution over a long row of samples needs many.
MAX_PADDED = 1 << 26
MAX_PATCHES = 1 << 28
MAX_TAPS = 4  # of RESIZE, along each axis
MAX_ROW = 1 << 20  # of LAYER_NORM: so many values add up exactly in float64


def no_relation(_: Params, *__: Region) -> str | None:
    """The operands are free."""
    return None


def same_shape(_: Params, *operands: Region) -> str | None:
    """Every operand has the shape of the last."""
    shape = operands[-1].shape
    for r in operands:
        if r.shape != shape:
            return f"shapes differ: {list(r.shape)} and {list(shape)}"
    return None


def copy(p: Params, source: Region, destination: Region) -> str | None:
    """Both operands have one element type and one shape."""
    if source.dtype != destination.dtype:
        return f"element types differ: {source.dtype} and {destination.dtype}"
    return same_shape(p, source, destination)


def convolution(
    p: Params, input: Region, weight: Region, bias: Region, scale: Region, output: Region
) -> str | None:
    """The groups divide the channels, there is one bias and one scale an output channel, and every window touches the input."""
    channels, kh, kw, per_group = weight.shape
    if per_group * p["groups"] != input.shape[3] or channels % p["groups"]:
        return "the groups do not divide the channels"
    return _per_channel(channels, bias, scale, output) or _window(
        input, output, (kh, kw), input.shape[3], per_group, p
    )


def depthwise(
    p: Params, input: Region, weight: Region, bias: Region, scale: Region, output: Region
) -> str | None:
    """The output's channels are a multiple of the input's, with one bias and one scale each; every window touches the input."""
    kh, kw, channels = weight.shape
    if channels % input.shape[3]:
        return "the output's channels are no multiple of the input's"
    return _per_channel(channels, bias, scale, output) or _window(
        input, output, (kh, kw), channels, channels, p
    )


def max_pool(p: Params, input: Region, output: Region) -> str | None:
    """Input and output have the same channels, every window touches the input, and the clamp is not empty."""
    if input.shape[3] != output.shape[3]:
        return "channels differ"
    return _clamp(p) or _window(input, output, (p["kernel_h"], p["kernel_w"]), input.shape[3], 1, p)


def average_pool(p: Params, input: Region, output: Region) -> str | None:
    """As MAX_POOL2D; the scales are positive where the arithmetic uses them."""
    if p["rounding"] == Rounding.ONNXRUNTIME and not (p["input_scale"] > 0 and p["output_scale"] > 0):
        return "a scale is 0"
    return max_pool(p, input, output)


def reduce(p: Params, input: Region, output: Region) -> str | None:
    """Each dimension of the output is the input's or 1, and the clamp is not empty."""
    if any(o not in (1, i) for i, o in zip(input.shape, output.shape)):
        return f"{list(output.shape)} is no reduction of {list(input.shape)}"
    return _clamp(p)


def sum_of_tensors(p: Params, input: Region, scale: Region, zero_point: Region, output: Region) -> str | None:
    """There is one scale and one zero point an input, the output has the shape of an input, and the clamp is not empty."""
    count, *shape = input.shape
    if output.shape != tuple(shape) or scale.shape != (count,) or zero_point.shape != (count,):
        return "inputs, scales, zero points and output do not fit"
    return _clamp(p)


def matmul(p: Params, a: Region, b: Region, bias: Region, scale: Region, output: Region) -> str | None:
    """a is [.., M, K], b [.., K, N], bias and output [.., M, N], with one scale a column, and the clamp is not empty."""
    *batch, rows, columns = output.shape
    depth = a.shape[3]
    if a.shape != (*batch, rows, depth) or b.shape != (*batch, depth, columns):
        return f"no product of {list(a.shape)} and {list(b.shape)} is {list(output.shape)}"
    if bias.shape != output.shape or scale.shape != (columns,):
        return "bias or scale do not fit the output"
    return _clamp(p)


def normalize(p: Params, input: Region, output: Region) -> str | None:
    """Input and output have one shape, the clamp is not empty, and the scale is positive where the arithmetic uses it."""
    if p["rounding"] == Rounding.QDQ and not p["output_scale"] > 0:
        return "a scale is 0"
    return _clamp(p) or same_shape(p, input, output)


def layer_norm(p: Params, input: Region, weight: Region, bias: Region, output: Region) -> str | None:
    """Input and output have one shape, there is one weight and one bias for each place of a row, which is not too long, and the clamp is not empty."""
    depth = (input.shape[1],)
    if depth[0] > MAX_ROW:
        return f"a row has {depth[0]} elements, more than {MAX_ROW}"
    if weight.shape != depth or bias.shape != depth:
        return (
            f"weights {list(weight.shape)} and biases {list(bias.shape)} are not those of rows of {depth[0]}"
        )
    return _clamp(p) or same_shape(p, input, output)


def variance(p: Params, input: Region, output: Region) -> str | None:
    """There is one output a row, rows are of a multiple of 4, and the clamp is not empty."""
    if output.shape != (input.shape[0], 1):
        return f"{list(output.shape)} is not one output for each of {input.shape[0]} rows"
    return _rows_of_four(input) or _clamp(p)


def standardize(p: Params, input: Region, divisor: Region, table: Region, output: Region) -> str | None:
    """There is one divisor a row, the table has 256 entries, rows are of a multiple of 4, and the clamp is not empty."""
    if divisor.shape != (input.shape[0], 1) or table.shape != (256,):
        return f"{list(divisor.shape)} is not one divisor for each of {input.shape[0]} rows, or the table has not 256 entries"
    return _rows_of_four(input) or _clamp(p) or same_shape(p, input, output)


def _rows_of_four(input: Region) -> str | None:
    return f"rows of {input.shape[1]} elements, no multiple of 4" if input.shape[1] % 4 else None


def resize(
    p: Params,
    input: Region,
    rows: Region,
    row_weights: Region,
    columns: Region,
    column_weights: Region,
    output: Region,
) -> str | None:
    """Batch and channels stay, every output row and column has one to four taps; the scales are positive where they are used."""
    n, _, _, c = input.shape
    _, height, width, _ = output.shape
    if (output.shape[0], output.shape[3]) != (n, c):
        return "batch or channels differ between input and output"
    for name, table, weights, size in (
        ("rows", rows, row_weights, height),
        ("columns", columns, column_weights, width),
    ):
        if table.shape != weights.shape or table.shape[1] != size or table.shape[0] > MAX_TAPS:
            return f"the tables of {name} are not [taps, {size}] with at most {MAX_TAPS} taps"
    if p["rounding"] == Rounding.QDQ and not (p["input_scale"] > 0 and p["output_scale"] > 0):
        return "a scale is 0"
    return _clamp(p)


def add(p: Params, a: Region, b: Region, output: Region) -> str | None:
    """All operands have one shape, the clamp is not empty; shift and scale are positive where the arithmetic uses them."""
    if p["rounding"] == Rounding.XNNPACK:
        if not p["shift"]:
            return "the shift is 0"
    elif p["rounding"] == Rounding.QDQ and not p["output_scale"] > 0:
        return "a scale is 0"
    return _clamp(p) or same_shape(p, a, b, output)


def multiply(p: Params, a: Region, b: Region, output: Region) -> str | None:
    """All operands have one shape, the clamp is not empty, and the output's scale is positive where it is used."""
    if p["rounding"] == Rounding.QDQ and not p["output_scale"] > 0:
        return "a scale is 0"
    return _clamp(p) or same_shape(p, a, b, output)


def divide(p: Params, a: Region, b: Region, output: Region) -> str | None:
    """All operands have one shape, and the clamp is not empty."""
    return _clamp(p) or same_shape(p, a, b, output)


def table(p: Params, input: Region, table: Region, output: Region) -> str | None:
    """The table has 256 entries; input and output have one shape."""
    if table.shape != (256,):
        return "the table has not 256 entries"
    return same_shape(p, input, output)


def lookup(p: Params, input: Region, table: Region, output: Region) -> str | None:
    """Tables have 256 entries; there is one, or one for each place along the last dimension; input and output have one shape."""
    if table.shape[1] != 256:
        return "a table has not 256 entries"
    if table.shape[0] not in (1, input.shape[-1]):
        return f"there are {table.shape[0]} tables for {input.shape[-1]} channels"
    return same_shape(p, input, output)


def unary(p: Params, input: Region, output: Region) -> str | None:
    """Input and output have one shape."""
    return same_shape(p, input, output)


def _clamp(p: Params) -> str | None:
    return "the clamp is empty" if p["clamp_min"] > p["clamp_max"] else None


def _per_channel(channels: int, bias: Region, scale: Region, output: Region) -> str | None:
    if output.shape[3] != channels or bias.shape != (channels,) or scale.shape != (channels,):
        return "output channels differ between weight, bias, scale and output"
    return None


def _window(x: Region, y: Region, kernel: tuple[int, int], width: int, depth: int, p: Params) -> str | None:
    """A window slides over x [N, H, W, C] and gives y; every window touches x, be it only with the room between its taps.

    ``width`` elements a pixel are padded, and ``depth`` elements a tap make one output.
    """
    if x.shape[0] != y.shape[0]:
        return f"batches differ: {x.shape[0]} and {y.shape[0]}"
    padded = x.shape[0] * width
    for axis, stride, dilation, pad in (
        (1, p["stride_h"], p.get("dilation_h", 1), p["pad_top"]),
        (2, p["stride_w"], p.get("dilation_w", 1), p["pad_left"]),
    ):
        size, window = x.shape[axis], (kernel[axis - 1] - 1) * dilation + 1
        last = (y.shape[axis] - 1) * stride - pad  # where the last window starts
        if pad >= window or last >= size:
            return "a window lies wholly outside the input"
        padded *= pad + max(size, last + window)
    if padded > MAX_PADDED:
        return f"the input with its padding has {padded} elements, more than {MAX_PADDED}"
    if y.shape[2] * kernel[0] * kernel[1] * depth > MAX_PATCHES:
        return f"the windows of a row of outputs have more than {MAX_PATCHES} elements"
    return _clamp(p)
