"""Imports a TFLite model as a dfg: every tensor typed, every shape static, constants as views of the file."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler import limits
from furiosa.compiler.dfg.graph import Graph, Operator, Quantization, Tensor
from furiosa.compiler.errors import InvalidConfig, InvalidModel
from furiosa.compiler.frontend.borders import check_borders
from furiosa.compiler.frontend.tflite import (
    bodies,
    custom,
    fold,
    options,
    shapes,
    signatures,
    variables,
    versions,
)
from furiosa.compiler.frontend.tflite.raw import Raw, type_name
from furiosa.compiler.frontend.tflite.select import Part, check_size, select
from furiosa.compiler.frontend.tflite.source import Source
from furiosa.compiler.frontend.tflite.tables import Table, builtin_code, names, read_model
from furiosa.compiler.selection import EVERYTHING, Selection

SCHEMA_VERSION = 3
_WEIGHTS_INSIDE = "LiteRT's interpreter does not read it, so export the model with its weights inside"
MAX_RANK = 64  # of NumPy's arrays
# The operators whose kernels write to their variables; any custom one may.
_STATEFUL = (
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CUSTOM", "LSTM", "RNN", "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
)  # fmt: skip


def import_tflite(
    data: bytes | memoryview, *, batch_size: int = 1, selection: Selection = EVERYTHING
) -> Graph:
    """Imports the subgraph of a TFLite model that the selection's signature names, or the first; the others are reached only by
    its control flow operators.

    Operators stand in the file's order, with their builtin options as attributes: enums by name ("SAME", "RELU6"),
    vectors as lists.  A custom operator has op_type "CUSTOM", "custom_code" and "custom_options" (bytes).  An input
    that is left out, or is a variable (state that lives in the operator), is None; a variable that its operator only reads is
    a constant, as nothing ever writes it.  ``Operator.source`` is the operator's index in the subgraph.  Operators around what lives
    from run to run are one operator, see ``variables``.

    A tensor whose type numpy lacks ("int4", "string", "resource", …) has that name as its dtype, a sparse constant
    has dtype "sparse"; the data of such a constant are the stored bytes, uint8 [n].

    Args:
        data: the bytes of the file; constants stay views of them.
        batch_size: multiplies dimension 0 of every input and output.
        selection: sizes of open dimensions, and where the model is cut; an open dimension 0 that it leaves out is 1.

    Raises:
        InvalidFormat: not a whole TFLite file.
        InvalidModel: a dynamic shape, an unknown custom operator, a reference to what is not there.
        InvalidConfig: the batch size is below 1, no such signature, or several and none is named.
    """
    if batch_size < 1:
        raise InvalidConfig(f"the batch size is {batch_size}; it must be at least 1")
    part = _read(data, selection)
    is_resized, is_open = part.needs_resizing, part.is_open
    try:
        graph = _graph(part, is_resized=is_resized)
    except InvalidModel:
        if is_resized or not is_open:
            raise
        # the sizes that the file states for what is open may contradict each other even for the batch that it states
        part = _read(data, selection)
        graph = _graph(part, is_resized=True)
    graph.selection = part.selection
    if batch_size != 1:
        from furiosa.compiler.frontend.tflite.batch import apply_batch

        apply_batch(graph, batch_size)
    return graph


def selected_model(data: bytes, selection: Selection) -> bytes:
    """The model file with a selection in it: cut, its inputs of the given shapes; the file itself where it is that already.

    What lies between is as the file states it: LiteRT finds the shapes itself.  Another file than that has no signatures, its inputs and
    outputs stand in the order of what is compiled.

    Raises:
        CompileError: as ``import_tflite``.
    """
    from furiosa.compiler.frontend.tflite.extract import extract

    part = _read(data, selection)
    if not (part.is_cut or part.shapes):
        return data
    raw = Raw(part)
    raw.shapes.update(part.shapes)
    part.source.open = {i for _, op in part.operators for i in op["outputs"].tolist()}
    operators = [
        raw.operator(number, op, [raw.tensor(i) for i in op["outputs"].tolist()])
        for number, op in part.operators
    ]
    inputs, outputs = ([raw.tensor(i) for _, i in ends] for ends in (part.entry.inputs, part.entry.outputs))
    return extract(
        Graph("tflite", "main", inputs, outputs, operators, part.source), operators, inputs, outputs
    )


def _read(data: bytes | memoryview, selection: Selection) -> Part:
    """The part of a file that is meant, with the shapes of its inputs."""
    view = memoryview(data).toreadonly()
    model = read_model(view)
    if model["version"] != SCHEMA_VERSION:
        raise InvalidModel(
            f"TFLite schema version {model['version']}; only version {SCHEMA_VERSION} is known"
        )
    if not model["subgraphs"]:
        raise InvalidModel("the TFLite model has no subgraph")
    limits.check_operators(sum(len(subgraph["operators"]) for subgraph in model["subgraphs"]))
    entry = signatures.entry(model, selection.signature)
    part = select(Source(model, view, entry.subgraph), entry, selection)
    if part.is_cut:
        types = {type_name(model, op) for op in model["subgraphs"][entry.subgraph]["operators"]}
        if kept := sorted(types & variables.WITHOUT_RESULT):
            raise InvalidConfig(
                f"a model that keeps values from run to run ({', '.join(kept)}) cannot be cut: leave out --inputs and --outputs"
            )
    return part


def _graph(part: Part, *, is_resized: bool) -> Graph:
    if is_resized:
        from furiosa.compiler.frontend.tflite.resize import resize

        resize(part)
    return _Importer(part).graph()


class _Importer:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.source = source = part.source
        self.entry = entry = part.entry
        self.subgraph = source.model["subgraphs"][entry.subgraph]
        self.tables = part.tables
        self.variables: dict[int, bool] = {}  # by index, whether it is an operator's state
        self.bodies = bodies.Bodies(source.model, entry.subgraph, self._op_type)

    def graph(self) -> Graph:
        inputs = [self._index(i, "the inputs") for _, i in self.entry.inputs]
        outputs = [self._index(i, "the outputs") for _, i in self.entry.outputs]
        operators = self.part.operators
        produced = {i for _, op in operators for i in op["outputs"].tolist()}
        self.not_constant = produced | set(inputs)
        self.tensors = [
            self._tensor(i, table) if self.part.uses(i) else None for i, table in enumerate(self.tables)
        ]
        written = set(inputs)
        graph = Graph(
            format="tflite",
            name=self.subgraph["name"] or "main",
            inputs=[self.tensors[i] for i in inputs],
            outputs=[self.tensors[i] for i in outputs],
            operators=[op for i, table in operators if (op := self._operator(i, table, written))],
            source=self.source,
            output_names=[n for n, _ in self.entry.outputs] if self.entry.is_named else None,
        )
        for i in outputs:
            if i not in written and not self.tensors[i].is_constant:
                raise InvalidModel(f'the output "{self.tensors[i].name}" is computed by no operator')
        check_borders(graph.inputs, "the input")
        check_borders(graph.outputs, "the output")
        graph.operators = variables.enclose(graph.operators, graph.outputs)
        return graph

    def _index(self, index: int, where: str) -> int:
        if not 0 <= index < len(self.tables):
            raise InvalidModel(
                f"{where} refer to tensor {index}, but the model has {len(self.tables)} tensors"
            )
        return index

    # Tensors

    def _tensor(self, index: int, table: Table) -> Tensor:
        name = self.part.names[index]
        if table["type"] not in names(schema.TensorType):
            raise InvalidModel(f'tensor "{name}" has the unknown type {table["type"]}')
        dtype = names(schema.TensorType)[table["type"]].lower()
        shape = tuple(table["shape"].tolist())
        if len(shape) > MAX_RANK:
            raise InvalidModel(
                f'tensor "{name}" has {len(shape)} dimensions; NumPy arrays have at most {MAX_RANK}'
            )
        if table["external_buffer"]:
            raise InvalidModel(
                f'tensor "{name}" has its data in {self._external_file(table)}: {_WEIGHTS_INSIDE}'
            )
        if any(d < 0 for d in shape):
            raise InvalidModel(
                f'tensor "{name}" has the dynamic shape {list(shape)}: export it with fixed shapes'
            )
        least = check_size(name, shape, dtype)
        n_bytes = 0 if 0 in shape else least
        data = None
        if table["is_variable"]:
            if self.source.buffer(table["buffer"], f'tensor "{name}"') is not None:
                raise InvalidModel(
                    f'tensor "{name}" is a variable with data in the file, which LiteRT refuses: make it a constant or a variable'
                )
        elif index not in self.not_constant:
            data = self._constant(name, table, shape, dtype, n_bytes)
            if data is not None and table["sparsity"] is not None:
                dtype = "sparse"
        return Tensor(name, shape, dtype, self._quantization(name, table, shape), data)

    def _external_file(self, table: Table) -> str:
        """What a sentence calls the file in which a tensor's data lie."""
        groups = self.source.model["external_buffer_groups"]
        for buffer in self.source.model["external_buffers"]:
            if buffer["id"] == table["external_buffer"] and buffer["group"] < len(groups):
                return f'the file "{groups[buffer["group"]]["name"]}"'
        return "another file"

    def _constant(
        self, name: str, table: Table, shape: tuple[int, ...], dtype: str, n_bytes: int
    ) -> np.ndarray | None:
        """The tensor's buffer; None where it has none and is not empty by its shape."""
        raw = self.source.buffer(table["buffer"], f'tensor "{name}"')
        if raw is None:
            if n_bytes or not shape or 0 not in shape:
                return None
            raw = np.frombuffer(b"", np.uint8)
        if dtype == "string" or table["sparsity"] is not None:
            return raw
        if len(raw) < n_bytes:
            raise InvalidModel(
                f'constant "{name}" holds {len(raw)} bytes; shape {list(shape)} of {dtype} takes {n_bytes}'
            )
        raw = raw[:n_bytes]
        if not hasattr(np, "bool_" if dtype == "bool" else dtype):
            return raw
        return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape)

    def _quantization(self, name: str, table: Table, shape: tuple[int, ...]) -> Quantization | None:
        """Affine quantisation; None where the file states none, or custom or blockwise details."""
        q = table["quantization"]
        if q is None or not len(q["scale"]) or q["details"] is not None:
            return None
        scale = q["scale"]
        low, high = (scale.min(), scale.max()) if len(scale) > 1 else (scale.item(),) * 2
        if not 0 <= low <= high < float("inf"):  # false for NaN, too
            raise InvalidModel(f'tensor "{name}" has a scale that is negative or not finite')
        if high == 0:
            return None
        axis = q["quantized_dimension"]
        if (
            shape
            and not 0 <= axis < len(shape)
            or len(scale) > 1
            and (not shape or shape[axis] != len(scale))
        ):
            raise InvalidModel(
                f'tensor "{name}" has {len(scale)} scales along dimension {axis}, but its shape is {list(shape)}'
            )
        zero_points = q["zero_point"]
        if len(zero_points) != len(scale):
            raise InvalidModel(f'tensor "{name}" has {len(scale)} scales, but {len(zero_points)} zero points')
        if any(not -(2**31) <= z < 2**31 for z in zero_points.tolist()):
            raise InvalidModel(f'tensor "{name}" has a zero point beyond 32 bits')
        return Quantization(scale, zero_points.astype(np.int32), axis if len(scale) > 1 else None)

    # Operators

    def _operator(self, index: int, table: Table, written: set[int]) -> Operator | None:
        """An operator, or None if its output has become a constant."""
        op_type, custom_code = self._op_type(index, table)
        where = f"operator {index} ({custom_code or op_type})"
        inputs: list[Tensor | None] = []
        for i in table["inputs"].tolist():
            if i == -1:
                inputs.append(None)
                continue
            i = self._index(i, where)
            if self.tables[i]["is_variable"] and i not in written:
                inputs.append(self._variable(i, op_type, where))
                continue
            if i not in written and not self.tensors[i].is_constant:
                raise InvalidModel(
                    f'{where} reads tensor "{self.tensors[i].name}" before anything has written it'
                )
            inputs.append(self.tensors[i])
        outputs = []
        for i in table["outputs"].tolist():
            i = self._index(i, where)
            if i in written:
                raise InvalidModel(
                    f'{where} writes tensor "{self.tensors[i].name}", which has already been written'
                )
            written.add(i)
            outputs.append(self.tensors[i])
        if not outputs and op_type not in variables.WITHOUT_RESULT:
            raise InvalidModel(f"{where} has no output")
        attributes = options.decode(op_type, where, table)
        if custom_code is not None:
            attributes |= {"custom_code": custom_code, "custom_options": table["custom_options"].tobytes()}
        inside = self.bodies.of(attributes)
        op = Operator(
            outputs[0].name if outputs else where, op_type, inputs, outputs, attributes, index, inside
        )
        shapes.check(op)
        custom.check(op)
        value = fold.fold(op)
        if value is None:
            return op
        outputs[0].shape, outputs[0].data = value.shape, value
        return None

    def _variable(self, i: int, op_type: str, where: str) -> Tensor | None:
        """What an operator is given for a variable: None where that is its state, else what it holds from the beginning.

        Raises:
            InvalidModel: another operator has it for its state or writes it, or its type has no zero.
        """
        is_state, tensor = op_type in _STATEFUL, self.tensors[i]
        if i in self.variables and (is_state or self.variables[i]):
            raise InvalidModel(
                f'{where} shares the variable "{tensor.name}", an operator\'s state, with another operator'
            )
        self.variables[i] = is_state
        if is_state:
            return None
        if i in self.not_constant:
            raise InvalidModel(
                f'{where} reads the variable "{tensor.name}", which a later operator writes: values that live from run to run '
                f"are not supported"
            )
        if tensor.data is None:
            value = (
                int(tensor.quantization.zero_point[0])
                if tensor.dtype == "int8" and tensor.quantization
                else 0
            )
            try:
                tensor.data = np.full(tensor.shape, value, tensor.dtype)
            except TypeError:
                raise InvalidModel(
                    f'{where} reads the variable "{tensor.name}" of type {tensor.dtype}'
                ) from None
            tensor.data.flags.writeable = False
        return tensor

    def _op_type(self, index: int, table: Table) -> tuple[str, str | None]:
        """The builtin operator's name, and the custom code of a custom operator."""
        codes = self.source.model["operator_codes"]
        k = table["opcode_index"]
        if k >= len(codes):
            raise InvalidModel(
                f"operator {index} refers to operator code {k}, but the model has {len(codes)}"
            )
        number = builtin_code(codes[k])
        op_type = names(schema.BuiltinOperator).get(number)
        if op_type is None or number == schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES:
            raise InvalidModel(
                f"operator {index} has the builtin code {number}, which the TFLite schema does not know"
            )
        versions.check(op_type, codes[k]["version"], f"operator {index} ({op_type})")
        return op_type, (codes[k]["custom_code"] or "") if op_type == "CUSTOM" else None
