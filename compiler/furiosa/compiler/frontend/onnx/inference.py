"""Types of all tensors and folding of constants, in turns: one learns from the other."""

from __future__ import annotations

import numpy as np
import onnx

from furiosa.compiler import limits
from furiosa.compiler.dfg.graph import Tensor
from furiosa.compiler.errors import InvalidModel, ShapesDisagree
from furiosa.compiler.frontend.onnx import attributes, checks, control, fold, shapes, wire
from furiosa.compiler.frontend.onnx.constants import CODES, Constants, check_size, dtype_name

MAX_TURNS = 100  # of inference on what the file states, tensor after tensor; then all that it states is taken
MAX_INFERRED = 1 << 22  # nodes times turns; half of them for MAX_TURNS
MAX_BYTES = 1 << 26  # that all results of folding take together, but for weights
MIN_FOLDED_OPSET = 7  # attributes and broadcasting were others before


class Inference:
    """Works on a model of its own, from which folded nodes vanish.

    Attributes:
        constants: the initialisers, then also what was folded, by name.
        types: what onnx could infer of all other tensors, by name.
    """

    def __init__(self, model: onnx.ModelProto, big: dict[int, memoryview], reader: Constants) -> None:
        """Reads the initialisers, of which ``big`` is the raw data that was taken out, by their index."""
        self.model = model
        self.reader = reader
        self.constants: dict[str, Tensor] = {}
        self.types: dict[str, onnx.TypeProto] = {}
        self._opset = checks.opsets(model)[""]
        self._can_fold = self._opset >= MIN_FOLDED_OPSET
        self._room_for_loops = control.LARGE
        self._room = 0  # bytes that folded weights may take: twice what the file's own constants take
        self._room_for_shapes = MAX_BYTES
        # the initialisers; of small ones inference sees the values
        self._messages: dict[str, onnx.TensorProto] = {}
        for i, message in enumerate(model.graph.initializer):
            dtype, shape, data = reader.read(message, big.get(i))
            self._define(Tensor(message.name, shape, dtype, data=data))
            self._messages[message.name] = message
            self._room += 2 * data.nbytes
        dense = 0
        for sparse in model.graph.sparse_initializer:
            dense += check_size(
                sparse.values.name, tuple(sparse.dims), dtype_name(sparse.values.data_type, "a constant")
            )
            limits.check_bytes(dense, model.ByteSize(), "the sparse constants of the model")
            self._add(reader.densify(sparse))

    def run(self) -> None:
        """Infers and folds until every shape is known or nothing more is to be learnt.

        Raises:
            InvalidModel: nodes contradict each other.
        """
        declared = shapes.declared(self.model.graph)
        trusted: set[str] = set()
        patience = MAX_TURNS
        left = MAX_INFERRED
        self.types = shapes.infer(self.model, declared, trusted)
        while True:
            folded = self._fold()
            if not self._is_unknown():
                return
            left -= len(self.model.graph.node)
            if left < 0:
                raise InvalidModel(
                    "the shapes of the ONNX model follow from each other in too many steps: fold its constants with the exporter or a "
                    "simplifier, such as onnxsim"
                )
            if not folded:
                # What the file states is the last resort (Loop, contrib operators): it may be stale.
                rest = declared.keys() - trusted
                new = self._first_declared(rest) if patience else {n for n in rest if self._is_unknown(n)}
                if not new:
                    return
                trusted |= new
                patience = max(0, patience - 1) if left > MAX_INFERRED // 2 else 0
            self.types = shapes.infer(self.model, declared, trusted, strict=bool(trusted))

    def _is_unknown(self, name: str | None = None) -> bool:
        """Whether a tensor, or without a name any, is of unknown shape."""
        if name is None:
            return any(self._is_unknown(o) for node in self.model.graph.node for o in node.output if o)
        return name not in self.constants and not shapes.is_known(self.types.get(name))

    def _first_declared(self, declared: set[str]) -> set[str]:
        """Of the tensors of unknown shape those among ``declared`` that do not follow from another one there."""
        found: set[str] = set()
        hopeless: set[str] = set()  # nothing is to be learnt of these
        for node in self.model.graph.node:
            if any(n and n not in hopeless and self._is_unknown(n) for n in node.input):
                continue
            unknown = {n for n in node.output if n and self._is_unknown(n)}
            found |= unknown & declared
            hopeless |= unknown - declared
        return found

    def _fold(self) -> bool:
        """Makes the results of nodes on constants initialisers; whether that was so for any node.

        What that tells of the shapes of nodes behind is looked at at once, so that a long chain takes one turn.
        """
        graph = self.model.graph
        kept = []
        is_changed = False
        waiting = list(reversed(graph.node))
        while waiting:
            node = waiting.pop()
            self._look_at(node)
            body = self._body(node)
            if body is not None:
                waiting += reversed(body)
                is_changed = True
                continue
            tensors = self._folded(node)
            if tensors is None:
                kept.append(node)
                continue
            is_changed = True
            for tensor in tensors:
                self._add(tensor)
        if not is_changed:
            return False
        del graph.node[:]
        graph.node.extend(kept)
        return True

    def _body(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """What an If or a Loop comes to, where constants say so."""
        if node.domain or node.op_type not in ("If", "Loop") or not self._can_fold or not node.output:
            return None

        def value(name: str) -> np.ndarray | None:
            return self.constants[name].data if name in self.constants else None

        if node.op_type == "If":
            return control.branch(node, value)
        is_unknown = any(o and self._is_unknown(o) for o in node.output)
        most = min(control.LARGE if is_unknown else control.SMALL, self._room_for_loops)
        body = control.unrolled(node, value, self._opset, most)
        self._room_for_loops -= len(body or ())
        return body

    def _look_at(self, node: onnx.NodeProto) -> None:
        """Infers the types of a node's results where they are unknown and those of its inputs are not any more."""
        if not any(o and self._is_unknown(o) for o in node.output) or any(
            map(self._is_unknown, filter(None, node.input))
        ):
            return
        given = {
            n: self.types[n] if n not in self.constants else shapes.type_of(self.constants[n])
            for n in node.input
            if n
        }
        values = {n: self._messages[n] for n in node.input if n in self._messages}
        for name, found in shapes.infer_node(node, given, values, self.model).items():
            if self._is_unknown(name) and shapes.is_known(found):
                self.types[name] = found

    def _define(self, tensor: Tensor) -> None:
        if tensor.name in self.constants:
            raise InvalidModel(f'tensor "{tensor.name}" is defined twice')
        self.constants[tensor.name] = tensor

    def _add(self, tensor: Tensor) -> None:
        """Makes a constant an initialiser for shape inference; of a big one without the data."""
        self._define(tensor)
        message = onnx.TensorProto(name=tensor.name, dims=tensor.shape, data_type=CODES[tensor.dtype])
        if tensor.data.nbytes <= wire.SMALL:
            message.raw_data = tensor.data.tobytes()
        self.model.graph.initializer.append(message)
        self._messages[tensor.name] = message

    def _folded(self, node: onnx.NodeProto) -> list[Tensor] | None:
        domain = checks.domain_of(node.domain)
        quantizes = node.op_type == "QuantizeLinear" and domain == "com.microsoft"
        if (domain and not quantizes) or not node.output or not all(node.output):
            return None
        if node.op_type == "Constant":
            value = self._constant(node)
            return value and [value]
        if not self._can_fold:
            return None
        if node.op_type in ("Shape", "Size"):
            source = self.constants.get(node.input[0])
            shape = source.shape if source else shapes.static_shape(self.types.get(node.input[0]))
            if shape is None:
                return None
            results = [fold.shape_of(node.op_type, shape, attributes.stated(node, self.reader))]
        else:
            results = self._results(node)
        if results is None:
            return None
        return [
            Tensor(n, data.shape, data.dtype.name, data=data)
            for n, data in zip(node.output, results, strict=True)
        ]

    def _results(self, node: onnx.NodeProto) -> list[np.ndarray] | None:
        """What a node makes of constants, as far as there is room for it."""
        op_type, names, stated = node.op_type, list(node.input), None
        if op_type == "CastLike" and len(names) == 2:  # of the second input only the type counts
            like = self.constants[names[1]].dtype if names[1] in self.constants else None
            code = CODES.get(like, self.types.get(names[1], onnx.TypeProto()).tensor_type.elem_type)
            op_type, names, stated = "Cast", names[:1], {"to": code}
        inputs = [self.constants.get(n) if n else None for n in names]
        if any(n and t is None for n, t in zip(names, inputs)):
            return None
        of_weights = op_type in fold.OF_WEIGHTS
        room = self._room if of_weights else self._room_for_shapes
        if of_weights and inputs and inputs[0] is not None and inputs[0].data.nbytes > room:
            return None
        known = [shapes.static_shape(self.types.get(n)) for n in node.output]
        try:
            results = fold.fold(op_type, inputs, known, stated or attributes.stated(node, self.reader))
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as e:
            raise ShapesDisagree(
                f'operator "{node.name}" ({node.op_type}) on constants is invalid: {e}'
            ) from None
        if results is None or sum(r.nbytes for r in results) > room:
            return None
        if of_weights:
            self._room -= sum(r.nbytes for r in results)
        elif op_type not in fold.VIEWS:
            self._room_for_shapes -= sum(r.nbytes for r in results)
        return results

    def _constant(self, node: onnx.NodeProto) -> Tensor | None:
        """A Constant node's value; strings and sparse tensors are left to the host."""
        if len(node.attribute) != 1:
            raise InvalidModel(
                f'operator "{node.name}" (Constant) must have one attribute, not {len(node.attribute)}'
            )
        (attribute,) = node.attribute
        name = node.output[0]
        if attribute.name == "value":
            message = attribute.t
        elif attribute.name in ("value_float", "value_floats", "value_int", "value_ints"):
            value = onnx.helper.get_attribute_value(attribute)
            kind = onnx.TensorProto.FLOAT if "float" in attribute.name else onnx.TensorProto.INT64
            many = attribute.name.endswith("s")
            message = onnx.helper.make_tensor(
                name, kind, [len(value)] if many else [], value if many else [value]
            )
        else:
            return None
        dtype, shape, data = self.reader.read(message, name=name)
        self._room += 2 * data.nbytes
        return Tensor(name, shape, dtype, data=data) if dtype != "string" else None
