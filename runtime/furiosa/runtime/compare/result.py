"""What a comparison finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from furiosa.runtime.compare.difference import Tally


@dataclass(slots=True, eq=False)
class EndToEnd:
    """An output of the simulator beside that of the model file on the reference runtime, all layers in a row.

    ``optimised`` counts where the simulator differs from the runtime; it is None where the runtime refuses the file, and then ``reason``
    says why.  Where something differs, ``unoptimised`` counts where the simulator differs from the runtime without its optimiser, and
    ``itself`` where the runtime with its optimiser differs from the runtime without.  ``is_other`` says that the compiler read another
    model than is in the file: without optimiser the runtime makes something else of it.
    """

    optimised: Tally | None = None
    unoptimised: Tally | None = None
    itself: Tally | None = None
    is_other: bool = False
    reason: str = ""


@dataclass(slots=True, eq=False)
class Row:
    """One tensor.

    ``tally`` counts where the simulator differs from what the reference makes of the same values; it is None where the tensor was not
    compared, and then ``reason`` says why.  Of the elements that differ, ``nearest`` are right by the real number, ``unoptimised``
    others are what the reference makes without its optimiser, and ``wrong`` counts the rest.  ``itself`` counts, of the inferences in which
    anything differs, the elements in which the reference differs from its own run without optimiser; None where it was not asked.  ``note`` says what was compared with
    where the reference refuses the layer.  ``is_unjudged``: not compared, though it should have been.  ``whole`` is there for outputs.
    """

    operator: str
    op_type: str
    computes: tuple[str, ...]
    placed_on: str
    tensor: str
    dtype: str
    shape: tuple[int, ...]
    tally: Tally | None
    reason: str = ""
    note: str = ""
    nearest: int = 0
    unoptimised: int = 0
    itself: int | None = None
    wrong: Tally = field(default_factory=Tally)
    is_unjudged: bool = False
    whole: EndToEnd | None = None

    def leave_out(self, reason: str, *, unjudged: bool = False) -> None:
        """Says that the tensor is not compared."""
        self.tally, self.reason, self.is_unjudged = None, reason, unjudged

    @property
    def differs(self) -> bool:
        return self.tally is not None and self.tally.differing > 0


@dataclass(slots=True)
class Comparison:
    """What came out: ``layers`` in the order of the source's operators, then the model's ``outputs``.

    ``changed`` are the sections in which the ENF differs from what this compiler makes of the source; None where there
    was nothing to compare with, for it was compiled here or cannot be.
    """

    model: str
    source: str
    source_format: str
    source_sha256: str
    reference: str
    target_npu: str
    batch_size: int
    compiler_version: str
    max_lsb: int
    seed: int | None
    changed: list[str] | None
    inputs: list[str] = field(default_factory=list)
    layers: list[Row] = field(default_factory=list)
    outputs: list[Row] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return self.layers + self.outputs

    @property
    def first_difference(self) -> Row | None:
        return next((r for r in self.rows if r.differs), None)

    @property
    def first_wrong(self) -> Row | None:
        """The first tensor with an element that nothing explains and that is more than ``max_lsb`` LSB off."""
        return next((r for r in self.rows if r.wrong.largest > self.max_lsb), None)

    @property
    def other_outputs(self) -> list[Row]:
        """The outputs that no layer makes (constants, inputs) and that are not those of the reference, or that the compiler read as
        something else.
        """
        return [o for o in self.outputs if o.whole is not None and self._is_other(o, o.whole)]

    def _is_other(self, o: Row, whole: EndToEnd) -> bool:
        far = whole.optimised is None or whole.optimised.largest > self.max_lsb
        return whole.is_other or o.tally is None and not o.is_unjudged and far

    @property
    def unjudged(self) -> list[Row]:
        """The tensors of which nobody can say whether they are right, unless all outputs equal the reference's."""
        if all(
            o.whole is not None and o.whole.optimised is not None and not o.whole.optimised.differing
            for o in self.outputs
        ):
            return []
        return [r for r in self.rows if r.is_unjudged]

    @property
    def is_right(self) -> bool:
        """The verdict."""
        return self.first_wrong is None and not self.unjudged and not self.other_outputs
