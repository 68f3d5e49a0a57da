"""Writes a small quantised detector whose file leaves the size of images open, in ONNX or TFLite: ``detector.py OUTPUT.onnx|OUTPUT.tflite``.

A convolution of stride 2, its result resized to the size of the input and added to that of another convolution, a head of four numbers
of a box and two scores for each pixel, flattened; all sizes are computed from the shape of the input, as exporters write it.  The ONNX
model ends in NonMaxSuppression, the TFLite model in Where: how many they find nobody knows before the model runs, so programs end
before them.  Weights are made up.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

_CHANNELS = 8
_SCALE = 0.05  # of all activations, zero point 0
_WEIGHT_SCALE = 0.01


def _weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(len(name) * 1000 + sum(shape)).integers(-127, 128, shape).astype(np.int8)


def onnx_detector() -> bytes:
    """A QDQ model; its input is float32 [batch, 3, height, width]."""
    import onnx
    from onnx import numpy_helper, parser

    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    detector (float[batch, 3, height, width] image) => (int64[kept, 3] found) {
        quantised = QuantizeLinear(image, s, z)
        x = DequantizeLinear(quantised, s, z)
        w1 = DequantizeLinear(weights1, ws, z)
        w2 = DequantizeLinear(weights2, ws, z)
        w3 = DequantizeLinear(weights3, ws, z)
        coarse = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1)
        coarse_q = QuantizeLinear(coarse, s, z)
        coarse_d = DequantizeLinear(coarse_q, s, z)
        fine = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w2)
        fine_q = QuantizeLinear(fine, s, z)
        fine_d = DequantizeLinear(fine_q, s, z)
        fine_shape = Shape(fine_d)
        size = Slice(fine_shape, two, four)
        coarse_shape = Shape(coarse_d)
        begin = Slice(coarse_shape, zero, two)
        sizes = Concat <axis = 0> (begin, size)
        up = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (coarse_d, , , sizes)
        up_q = QuantizeLinear(up, s, z)
        up_d = DequantizeLinear(up_q, s, z)
        sum = Add(up_d, fine_d)
        sum_q = QuantizeLinear(sum, s, z)
        sum_d = DequantizeLinear(sum_q, s, z)
        head = Conv <kernel_shape = [1, 1]> (sum_d, w3)
        head_q = QuantizeLinear(head, s, z)
        head_d = DequantizeLinear(head_q, s, z)
        batch_size = Gather <axis = 0> (fine_shape, first)
        target = Concat <axis = 0> (batch_size, six, rest)
        flat = Reshape(head_d, target)
        flat_q = QuantizeLinear(flat, s, z)
        flat_d = DequantizeLinear(flat_q, s, z)
        boxes_f, scores_f = Split <axis = 1> (flat_d, parts)
        scores_q = QuantizeLinear(scores_f, s, z)
        scores = DequantizeLinear(scores_q, s, z)
        boxes_fq = QuantizeLinear(boxes_f, s, z)
        boxes_d = DequantizeLinear(boxes_fq, s, z)
        boxes_t = Transpose <perm = [0, 2, 1]> (boxes_d)
        boxes_q = QuantizeLinear(boxes_t, s, z)
        boxes = DequantizeLinear(boxes_q, s, z)
        found = NonMaxSuppression(boxes, scores, most)
    }"""
    model = parser.parse_model(text)
    constants = {
        "s": np.float32(_SCALE), "ws": np.float32(_WEIGHT_SCALE), "z": np.int8(0),
        "weights1": _weights("1", (_CHANNELS, 3, 3, 3)), "weights2": _weights("22", (_CHANNELS, 3, 3, 3)),
        "weights3": _weights("333", (6, _CHANNELS, 1, 1)),
    }  # fmt: skip
    ints = {
        "zero": [0],
        "first": [0],
        "two": [2],
        "four": [4],
        "six": [6],
        "rest": [-1],
        "parts": [4, 2],
        "most": [10],
    }
    constants |= {name: np.array(value, np.int64) for name, value in ints.items()}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items())
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def tflite_detector() -> bytes:
    """An int8 model; its input is int8 [batch, height, width, 3], and the file states 1 for what is open, as converters do."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT(version=3, operatorCodes=[], buffers=[schema.BufferT()])
    graph = schema.SubGraphT(tensors=[], operators=[], name="main")
    model.subgraphs = [graph]

    def tensor(
        name: str, shape: list[int], dtype: str = "INT8", data: object = None, scale: float | None = None
    ) -> int:
        """-1 in a shape is an open dimension."""
        t = schema.TensorT(
            name=name, shape=[abs(d) for d in shape], type=getattr(schema.TensorType, dtype), buffer=0
        )
        if -1 in shape:
            t.shapeSignature = shape
        if data is not None:
            t.buffer = len(model.buffers)
            raw = np.asarray(data, dtype.lower()).reshape(-1).view(np.uint8)
            model.buffers.append(schema.BufferT(data=raw))
        if scale is not None:
            t.quantization = schema.QuantizationParametersT(scale=[scale], zeroPoint=[0])
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    def operator(kind: str, inputs: list[int], output: int, options: object = None) -> int:
        code = getattr(schema.BuiltinOperator, kind)
        model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1)
        )
        op = schema.OperatorT(opcodeIndex=len(model.operatorCodes) - 1, inputs=inputs, outputs=[output])
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            op.builtinOptions = options
        graph.operators.append(op)
        return output

    def image(name: str, channels: int = _CHANNELS) -> int:
        return tensor(name, [-1, -1, -1, channels], scale=_SCALE)

    def ints(name: str, *values: int) -> int:
        return tensor(name, [len(values)], "INT32", values)

    def conv(x: int, name: str, shape: tuple[int, ...], stride: int) -> int:
        w = tensor(f"{name}/weights", list(shape), data=_weights(name, shape), scale=_WEIGHT_SCALE)
        bias = tensor(f"{name}/bias", [shape[0]], "INT32", np.zeros(shape[0]), _SCALE * _WEIGHT_SCALE)
        window = schema.Conv2DOptionsT(
            padding=schema.Padding.SAME, strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1
        )
        return operator("CONV_2D", [x, w, bias], image(name, shape[0]), window)

    x = image("image", 3)
    shape = operator(
        "SHAPE", [x], tensor("shape", [4], "INT32"), schema.ShapeOptionsT(outType=schema.TensorType.INT32)
    )
    one, three = ints("one", 1), ints("three", 3)
    size = operator(
        "STRIDED_SLICE", [shape, one, three, one], tensor("size", [2], "INT32"), schema.StridedSliceOptionsT()
    )
    coarse = conv(x, "coarse", (_CHANNELS, 3, 3, 3), 2)
    fine = conv(x, "fine", (_CHANNELS, 3, 3, 3), 1)
    up = operator(
        "RESIZE_NEAREST_NEIGHBOR", [coarse, size], image("up"), schema.ResizeNearestNeighborOptionsT()
    )
    total = operator("ADD", [up, fine], image("sum"), schema.AddOptionsT())
    head = conv(total, "head", (6, 1, 1, _CHANNELS), 1)
    flat = tensor("boxes_and_scores", [-1, 6], scale=_SCALE)
    operator("RESHAPE", [head, ints("target", -1, 6)], flat, schema.ReshapeOptionsT(newShape=[-1, 6]))
    zero = tensor("zero", [], data=0, scale=_SCALE)
    positive = operator(
        "GREATER", [flat, zero], tensor("positive", [-1, 6], "BOOL"), schema.GreaterOptionsT()
    )
    found = operator("WHERE", [positive], tensor("found", [-1, 2], "INT64"))
    graph.inputs, graph.outputs = [x], [found]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(onnx_detector() if path.suffix == ".onnx" else tflite_detector())
