"""What operators run inside of themselves, as graphs of operators: how much they multiply is counted there."""

from __future__ import annotations

from collections.abc import Callable

from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.tflite import options
from furiosa.compiler.frontend.tflite.tables import Table, names

MAX_OPERATORS = 10_000  # of all bodies together: a subgraph that is run from several places counts at each
MAX_DEPTH = 32  # of subgraphs that run others


class Bodies:
    """Makes the bodies of one model's operators.

    Args:
        model: the decoded Model table.
        main: the subgraph whose operators they are, which is nobody's body.
        op_type: gives the type and the custom code of an operator, of its number and its table.
    """

    def __init__(
        self, model: Table, main: int, op_type: Callable[[int, Table], tuple[str, str | None]]
    ) -> None:
        self._subgraphs: list[Table] = model["subgraphs"]
        self._main, self._op_type = main, op_type
        self._left = MAX_OPERATORS

    def of(self, attributes: dict[str, object], depth: int = 0) -> dict[str, Graph] | None:
        """The subgraphs that an operator's options name, by the options' names; None for one that names none.

        A subgraph that cannot be read, or lies too deep, is left out.  A tensor whose shape is not known has the shape None.
        """
        found = {
            name: index
            for name, index in attributes.items()
            if (name == "subgraph" or name.endswith("subgraph_index")) and isinstance(index, int)
        }
        if not found:
            return None
        graphs = {name: self._graph(index, depth + 1) for name, index in found.items()}
        return {name: graph for name, graph in graphs.items() if graph is not None}

    def _graph(self, index: int, depth: int) -> Graph | None:
        if index == self._main or not 0 <= index < len(self._subgraphs) or depth > MAX_DEPTH:
            return None
        table = self._subgraphs[index]
        self._left -= 1 + len(table["operators"])
        if self._left < 0:
            return None
        try:
            tensors = [_tensor(i, t) for i, t in enumerate(table["tensors"])]
            operators = [self._operator(i, op, tensors, depth) for i, op in enumerate(table["operators"])]
            inputs, outputs = ([tensors[i] for i in table[k].tolist()] for k in ("inputs", "outputs"))
        except (CompileError, IndexError, KeyError):  # whether it is sound is not to be found out here
            return None
        return Graph("tflite", table["name"] or f"subgraph {index}", inputs, outputs, operators)

    def _operator(self, index: int, table: Table, tensors: list[Tensor], depth: int) -> Operator:
        op_type, custom_code = self._op_type(index, table)
        attributes = options.decode(op_type, f"operator {index}", table)
        if custom_code is not None:
            attributes["custom_code"] = custom_code
        inputs = [tensors[i] if i >= 0 else None for i in table["inputs"].tolist()]
        outputs = [tensors[i] for i in table["outputs"].tolist()]
        name = outputs[0].name if outputs else op_type
        return Operator(name, op_type, inputs, outputs, attributes, index, self.of(attributes, depth))


def _tensor(index: int, table: Table) -> Tensor:
    """A tensor without its data; a variable's shape is that of its state."""
    stated, signature = table["shape"].tolist(), table["shape_signature"].tolist()
    is_known = all(d >= 0 for d in stated) and all(d >= 0 for d in signature)
    dtype = names(schema.TensorType)[table["type"]].lower()
    return Tensor(table["name"] or f"tensor {index}", tuple(stated) if is_known else None, dtype)
