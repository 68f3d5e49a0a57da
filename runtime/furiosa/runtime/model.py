"""The inputs and outputs of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from furiosa.runtime.errors import TensorNameNotFound
from furiosa.runtime.tensor import Tensor, TensorArray, TensorDesc


class Model:
    """What a model takes and gives."""

    def __init__(self, inputs: Sequence[TensorDesc], outputs: Sequence[TensorDesc]):
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    @property
    def input_num(self) -> int:
        """Number of inputs."""
        return len(self._inputs)

    @property
    def output_num(self) -> int:
        """Number of outputs."""
        return len(self._outputs)

    def inputs(self) -> list[TensorDesc]:
        """The inputs, in the model's order."""
        return list(self._inputs)

    def outputs(self) -> list[TensorDesc]:
        """The outputs, in the model's order."""
        return list(self._outputs)

    def input(self, index: int) -> TensorDesc:
        """One input.

        Raises:
            IndexError: no such input.
        """
        return _at(self._inputs, index, "input")

    def output(self, index: int) -> TensorDesc:
        """One output.

        Raises:
            IndexError: no such output.
        """
        return _at(self._outputs, index, "output")

    def create_inputs(self) -> TensorArray:
        """New tensors of zeros for all inputs."""
        return TensorArray([Tensor(d) for d in self._inputs])

    def create_outputs(self) -> TensorArray:
        """New tensors of zeros for all outputs."""
        return TensorArray([Tensor(d) for d in self._outputs])

    def create_tensors(self, names: Iterable[str]) -> TensorArray:
        """New tensors of zeros for inputs and outputs given by name.

        Raises:
            TensorNameNotFound: no input or output has the name.
        """
        return TensorArray([Tensor(find(self._inputs + self._outputs, name)) for name in names])

    allocate_inputs = create_inputs
    allocate_outputs = create_outputs
    allocate_tensors = create_tensors

    def summary(self) -> str:
        """The inputs and outputs as text."""
        return f"Inputs:\n{dict(enumerate(self._inputs))}\nOutputs:\n{dict(enumerate(self._outputs))}"

    def print_summary(self) -> None:
        """Prints ``summary()``."""
        print(self.summary())


def find(descs: Sequence[TensorDesc], name: str) -> TensorDesc:
    """The first description of that name.

    Raises:
        TensorNameNotFound: there is none.
    """
    for d in descs:
        if d.name == name:
            return d
    raise TensorNameNotFound(
        f"Tensor '{name}' not found in model; it has {', '.join(repr(d.name) for d in descs)}"
    )


def _at(descs: tuple[TensorDesc, ...], index: int, what: str) -> TensorDesc:
    if not 0 <= index < len(descs):
        raise IndexError(f"{what} {index}: the model has {len(descs)} {what}{'' if len(descs) == 1 else 's'}")
    return descs[index]
