"""The vendor's public table of accelerated operators, as data: from which release on, with which limits, TFLite's counterparts.

Source: the page "supported operators" of the vendor's SDK documentation, 0.6.3 and the last one (0.10).  It says what the
vendor's compiler takes; what this one takes is in the tables ``LOWERINGS``, and only they decide.
"""

from __future__ import annotations

from typing import NamedTuple

# the two releases whose tables are public and differ; an option's value names one of them
RELEASES = ("0.6.3", "0.10")
LATEST = RELEASES[-1]


class Row(NamedTuple):
    """One operator of the vendor's table.

    ``since`` is the first release that accelerates it ("" where it has always been there), ``note`` the vendor's limits,
    ``tflite`` the operators of TFLite that are the same, ``like`` the row that an operator outside the table belongs to.
    """

    since: str = ""
    note: str = ""
    tflite: tuple[str, ...] = ()
    like: str = ""


ROWS: dict[str, Row] = {
    "Add": Row(tflite=("ADD",)),
    "AveragePool": Row(tflite=("AVERAGE_POOL_2D",)),
    "BatchNormalization": Row("0.5", "after Conv"),
    "Clip": Row(tflite=("RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")),
    "Concat": Row("0.6", "height; since 0.7 channels", ("CONCATENATION", "PACK")),
    "Conv": Row(
        "", "at most 128 groups, dilation at most 12", ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ),
    "ConvTranspose": Row("0.5", tflite=("TRANSPOSE_CONV",)),
    "DepthToSpace": Row("0.6", "mode CRD; since 0.7 DCR", ("DEPTH_TO_SPACE",)),
    "DequantizeLinear": Row("0.10", "on the host before", ("DEQUANTIZE",)),
    "Elu": Row("0.7", tflite=("ELU",)),
    "Erf": Row("0.7"),
    "Exp": Row("", "listed in 0.6.3; the last table says since 0.7", ("EXP",)),
    "Expand": Row(tflite=("BROADCAST_TO",)),
    "Flatten": Row(),
    "Gelu": Row("0.7", "of the domain com.microsoft", ("GELU",)),
    "Gemm": Row(),
    "LeakyRelu": Row("0.5", tflite=("LEAKY_RELU",)),
    "Log": Row("0.7", "not in 0.6.3; the last table names no release", ("LOG",)),
    "LpNormalization": Row("", "p = 2; since 0.7 batch at most 2", ("L2_NORMALIZATION",)),
    "MatMul": Row(tflite=("BATCH_MATMUL",)),
    "MaxPool": Row(tflite=("MAX_POOL_2D",)),
    "Mean": Row(),
    "Mul": Row(tflite=("MUL",)),
    "PRelu": Row("0.8", tflite=("PRELU",)),
    "Pad": Row("", "since 0.7 channels, width, height", ("PAD", "PADV2", "MIRROR_PAD")),
    "Pow": Row("0.5", tflite=("POW", "SQUARE")),
    "ReduceL2": Row(),
    "ReduceSum": Row(tflite=("SUM",)),
    "Relu": Row(tflite=("RELU",)),
    "Reshape": Row(tflite=("RESHAPE",)),
    "Resize": Row("0.7", "modes nearest and linear", ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")),
    "Sigmoid": Row(tflite=("LOGISTIC",)),
    "Slice": Row("0.6", "height; since 0.7 channels", ("SLICE", "STRIDED_SLICE")),
    "Softmax": Row("", "since 0.7 batch at most 2", ("SOFTMAX",)),
    "Softplus": Row(),
    "SpaceToDepth": Row("0.6", "mode CRD; since 0.7 DCR", ("SPACE_TO_DEPTH",)),
    "Split": Row(tflite=("SPLIT", "SPLIT_V", "UNPACK")),
    "Sqrt": Row("0.5", tflite=("SQRT",)),
    "Sub": Row(tflite=("SUB",)),
    "Tanh": Row("0.7", tflite=("TANH",)),
    "Transpose": Row("0.6", tflite=("TRANSPOSE",)),
    "Unsqueeze": Row(tflite=("EXPAND_DIMS",)),
    # not in the vendor's table by name, but the same as what is; an operator that is neither is only taken in the last release
    "Dropout": Row(like="Reshape"),
    "GlobalAveragePool": Row(like="AveragePool"),
    "GlobalMaxPool": Row(like="MaxPool"),
    "Identity": Row(like="Reshape"),
    "QuantizeLinear": Row(like="DequantizeLinear", tflite=("QUANTIZE",)),
    "ReduceMean": Row(like="Mean", tflite=("MEAN",)),
    "Squeeze": Row(like="Unsqueeze", tflite=("SQUEEZE",)),
    "Tile": Row(like="Expand", tflite=("TILE",)),
}
# TFLite's operators -> those of ONNX
COUNTERPARTS = {name: onnx for onnx, row in ROWS.items() for name in row.tflite}


def release(name: str) -> str:
    """The release that a value of the option "compatibility" names; "latest" is the last one.

    Raises:
        ValueError: no such release.
    """
    if name == "latest":
        return LATEST
    if name not in RELEASES:
        raise ValueError(f"unknown compatibility '{name}', known: {', '.join(RELEASES)}, latest")
    return name


def row(op_type: str) -> tuple[str, Row] | None:
    """The ONNX name and the row of an operator of either format; None where the vendor's table has nothing like it."""
    name = COUNTERPARTS.get(op_type, op_type)
    return (name, ROWS[name]) if name in ROWS else None


def since(op_type: str) -> str | None:
    """The first release with the operator: "" for one that has always been there, None for one that never was."""
    found = row(op_type)
    if found is None:
        return None
    return found[1].since or (ROWS[found[1].like].since if found[1].like else "")


def taken(op_type: str, release: str) -> bool:
    """Whether the vendor's compiler of that release accelerates the operator; in the last one, all that is known here."""
    first = since(op_type)
    return release == LATEST or (first is not None and _number(first) <= _number(release))


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".") if part)
