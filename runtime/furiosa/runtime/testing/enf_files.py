"""Small ENFs, put together by hand: the runtime's tests need no compiler."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from furiosa.enf import codec, container, dtypes, enf_pb2
from furiosa.enf.isa import BY_NAME, Command, Engine, Region, Space

DRAM_ALIGNMENT = 64
_LETTERS = {4: "NCHW", 2: "NC"}


def descriptor(
    name: str,
    dtype: str,
    shape: Sequence[int],
    address: int = 0,
    space: int = Space.DRAM,
    quantization: tuple[float, int] | None = None,
) -> enf_pb2.TensorDescriptor:
    """A tensor at rest."""
    d = enf_pb2.TensorDescriptor(
        name=name,
        dtype=dtypes.CODE[dtype],
        shape=shape,
        space=space,
        address=address,
        axes=_LETTERS.get(len(shape), ""),
    )
    if quantization:
        d.quantization.scale, d.quantization.zero_point = quantization
    return d


def place(tensors: Sequence[enf_pb2.TensorDescriptor]) -> int:
    """Gives tensors in DRAM addresses one behind the other; returns the end."""
    at = 0
    for d in tensors:
        if d.space == Space.DRAM:
            d.address = at
            at += -(-_nbytes(d) // DRAM_ALIGNMENT) * DRAM_ALIGNMENT
    return at


def _nbytes(d: enf_pb2.TensorDescriptor) -> int:
    return math.prod(d.shape) * dtypes.ITEMSIZE[dtypes.NAME[d.dtype]]


def build(
    inputs: Sequence[enf_pb2.TensorDescriptor],
    outputs: Sequence[enf_pb2.TensorDescriptor],
    steps: Sequence[enf_pb2.Step],
    commands: Sequence[Command] = (),
    sram: Sequence[tuple[int, int]] = (),
    crossing: Sequence[enf_pb2.TensorDescriptor] = (),
    constants: bytes = b"",
    host_models: bytes = b"",
    target: str = "warboy",
    batch_size: int = 1,
    latency_us: float = 1.5,
) -> bytes:
    """An ENF; ``sram`` are (address, size) of buffers that live through the whole program."""
    at_rest = {d.name: d for d in (*inputs, *crossing, *outputs) if d.space == Space.DRAM}.values()
    end = max((d.address + _nbytes(d) for d in at_rest), default=0)
    memory = enf_pb2.MemoryPlan(
        sram_address=[a for a, _ in sram],
        sram_size=[s for _, s in sram],
        sram_first=[0] * len(sram),
        sram_last=[len(commands) - 1] * len(sram),
        dram_address=[d.address for d in at_rest],
        dram_size=[_nbytes(d) for d in at_rest],
        dram_tensor=[d.name for d in at_rest],
    )
    metadata = enf_pb2.Metadata(
        compiler_version="0.0.0",
        target_npu=target,
        batch_size=batch_size,
        source_format="onnx",
        source_sha256=bytes(range(32)),
        sram_peak_bytes=sum(s for _, s in sram),
        dram_bytes=end + len(constants),
        working_dram_bytes=end,
        latency_us=latency_us,
        npu_macs=75,
        total_macs=100,
        npu_operators=1 if commands else 0,
        host_operators=1 if host_models else 0,
    )
    messages = {
        "metadata": metadata,
        "interface": enf_pb2.Interface(inputs=inputs, outputs=outputs),
        "plan": enf_pb2.Plan(steps=steps),
        "memory": memory,
        "debug": enf_pb2.DebugMap(),
    }
    sections = {name: m.SerializeToString(deterministic=True) for name, m in messages.items()}
    return container.to_bytes(
        {**sections, "code": codec.encode(list(commands)), "constants": constants, "host_models": host_models}
    )


def table_enf(
    table: np.ndarray | None = None, elements: int = 64, padding: int = 0, **options: object
) -> bytes:
    """An ENF that looks int8 "x" [1, 1, 1, elements] up in a table on the NPU; by default y = -1 - x.

    ``padding``: bytes of constants behind the table, which nothing reads.
    """
    table = np.arange(256, dtype=np.uint8)[::-1] if table is None else table
    q = (0.5, -3)
    x, y = (descriptor(name, "int8", (1, 1, 1, elements), quantization=q) for name in "xy")
    place([x, y])
    shape, at_table, at_result = (
        (1, 1, 1, elements),
        -(-elements // 256) * 256,
        -(-elements // 256) * 256 + 256,
    )

    def tile(space: int, address: int, dims: tuple[int, ...] = shape, dtype: str = "int8") -> Region:
        return Region.dense(space, dtype, address, dims)

    def command(name: str, engine: int, waits: tuple[int, ...], *operands: Region) -> Command:
        return Command(BY_NAME[name], engine, waits, operands, ())

    tables = (1, 1, 1, 256)
    commands = [
        command("LOAD", Engine.LOAD, (0, 0, 0), tile(Space.DRAM, x.address), tile(Space.SRAM, 0)),
        command(
            "LOAD",
            Engine.LOAD,
            (0, 0, 0),
            tile(Space.CONST, 0, tables, "uint8"),
            tile(Space.SRAM, at_table, tables, "uint8"),
        ),
        command(
            "TABLE_LOOKUP",
            Engine.PE,
            (2, 0, 0),
            tile(Space.SRAM, 0),
            tile(Space.SRAM, at_table, (1, 256), "uint8"),
            tile(Space.SRAM, at_result),
        ),
        command("STORE", Engine.STORE, (0, 0, 1), tile(Space.SRAM, at_result), tile(Space.DRAM, y.address)),
    ]
    step = enf_pb2.Step(commands=enf_pb2.CommandRange(first=0, count=len(commands)))
    sram = [(0, elements), (at_table, 256), (at_result, elements)]
    return build([x], [y], [step], commands, sram, constants=table.tobytes() + bytes(padding), **options)


def host_enf(
    model_format: str,
    model: bytes,
    inputs: Sequence[enf_pb2.TensorDescriptor],
    outputs: Sequence[enf_pb2.TensorDescriptor],
    **options: object,
) -> bytes:
    """An ENF of one host cluster; the tensors get addresses here."""
    place([*inputs, *outputs])
    call = enf_pb2.HostCall(format=model_format, offset=0, size=len(model), inputs=inputs, outputs=outputs)
    return build(inputs, outputs, [enf_pb2.Step(host_call=call)], host_models=model, **options)


def onnx_model(
    nodes: Sequence[tuple[str, Sequence[str], Sequence[str], dict]],
    inputs: dict[str, tuple[str, Sequence[int] | None]],
    outputs: dict[str, tuple[str, Sequence[int] | None]],
    external: dict[str, tuple[str, Sequence[int]]] | None = None,
) -> bytes:
    """An ONNX model of (operator, inputs, outputs, attributes); ``external`` are float32 weights in files."""
    import onnx
    from onnx import helper

    def info(tensors: dict[str, tuple[str, Sequence[int] | None]]) -> list:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in tensors.items()
        ]

    weights = []
    for name, (location, shape) in (external or {}).items():
        tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        weights.append(tensor)
    graph = helper.make_graph(
        [helper.make_node(op, i, o, **attributes) for op, i, o, attributes in nodes],
        "g",
        info(inputs),
        info(outputs),
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()


def tflite_softmax(shape: Sequence[int]) -> bytes:
    """A TFLite model of one int8 SOFTMAX."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, scale: float, zero_point: int) -> schema.TensorT:
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), schema.TensorType.INT8, 0
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale, t.quantization.zeroPoint = [scale], [zero_point]
        return t

    model, code, graph, operator = (
        schema.ModelT(),
        schema.OperatorCodeT(),
        schema.SubGraphT(),
        schema.OperatorT(),
    )
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 2
    operator.inputs, operator.outputs = [0], [1]
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.SoftmaxOptions,
        schema.SoftmaxOptionsT(),
    )
    operator.builtinOptions.beta = 1.0
    graph.tensors = [tensor("in", 0.1, 0), tensor("out", 1 / 256, -128)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.version, model.buffers, model.operatorCodes, model.subgraphs = (
        3,
        [schema.BufferT()],
        [code],
        [graph],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
