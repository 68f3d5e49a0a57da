"""The way a model goes: dfg, ldfg, cdfg, gir, lir, enf."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from furiosa.compiler import __version__, limits
from furiosa.compiler.cdfg import legality as cdfg_legality
from furiosa.compiler.cdfg.cluster import Cluster, cluster
from furiosa.compiler.dfg import legality as dfg_legality
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.dfg.macs import macs, total
from furiosa.compiler.enf import legality as enf_legality
from furiosa.compiler.enf.encode import Encoder
from furiosa.compiler.errors import InvalidConfig, InvalidNpuId, LowCoverage, OutOfDram
from furiosa.compiler.frontend.importer import extract_host_model, import_model, source_format
from furiosa.compiler.gir import legality as gir_legality
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.gir.tile import Buffer
from furiosa.compiler.ldfg import legality as ldfg_legality
from furiosa.compiler.ldfg import vendor
from furiosa.compiler.ldfg.coverage import coverage, estimate_host, moved_bytes, unknown_macs
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.lir import legality as lir_legality
from furiosa.compiler.lir.linear import Linear, Linearizer, out_of_memory
from furiosa.compiler.lir.search import LEVELS, schedule
from furiosa.compiler.lir.segment import Segment
from furiosa.compiler.model_files import ModelFiles
from furiosa.compiler.program import HostStep, NpuStep, Step
from furiosa.compiler.selection import EVERYTHING, Selection
from furiosa.enf import container, enf_pb2, reader, timing
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Space
from furiosa.enf.performance import Performance, analyze
from furiosa.enf.target import DEFAULT_TARGET, Target, load_target

STAGES = ("dfg", "ldfg", "cdfg", "gir", "lir", "enf")
MAX_BATCH = 1 << 16
WARNINGS = ("out-of-dram",)

# operators of either format that only change how a tensor is written down
CONVERSIONS = ("Cast", "CastLike", "DequantizeLinear", "QuantizeLinear", "CAST", "DEQUANTIZE", "QUANTIZE")

WORK = {"macs": "multiply-accumulates", "operators": "operators (it has no multiply-accumulates)"}

Progress = Callable[[str, str], None]
Tell = Callable[[str], None]


@dataclass(slots=True)
class Options:
    """What a user chooses."""

    target_npu: str = DEFAULT_TARGET
    batch_size: int = 1
    compatibility: str = (
        vendor.LATEST
    )  # the release of the vendor's SDK whose operators the NPU may take, or "latest"
    min_npu_coverage: float = 0.0  # the least share of the work, 0 to 1, that the NPU must do
    deny: tuple[str, ...] = ()  # of WARNINGS, those that are errors
    optimize: int = 1  # 0 to 2: how much is tried for a better schedule
    selection: Selection = EVERYTHING  # what of the model file is compiled, with which shapes
    max_host_operators: int | None = None  # how many operators may run on the host; None for any number


class Compilation:
    """One model on its way; each stage fills the field of its name.

    Raises (from ``run``):
        CompileError: a sentence for the user and a native code, see furiosa.compiler.errors.
    """

    dfg: Graph
    ldfg: Lowering
    cdfg: list[Cluster]
    gir: dict[Cluster, Segment]
    lir: Linear
    enf: dict[str, bytes | container.Chunked]
    program: reader.Unwritten  # the same, read again

    def __init__(self, data: bytes, options: Options, *, files: ModelFiles | None = None):
        try:
            self.target: Target = load_target(options.target_npu)
        except ValueError as e:
            raise InvalidNpuId(str(e)) from None
        if not 1 <= options.batch_size <= MAX_BATCH:
            raise InvalidConfig(f"batch size {options.batch_size} is not between 1 and {MAX_BATCH}")
        try:
            self.release = vendor.release(options.compatibility)
        except ValueError as e:
            raise InvalidConfig(str(e)) from None
        if options.optimize not in LEVELS:
            raise InvalidConfig(f"optimization level {options.optimize} is not 0, 1 or 2")
        unknown = [w for w in options.deny if w not in WARNINGS]
        if unknown:
            raise InvalidConfig(f"unknown warning '{unknown[0]}' to deny, known: {', '.join(WARNINGS)}")
        if not 0 <= options.min_npu_coverage <= 1:
            raise InvalidConfig(f"min NPU coverage {options.min_npu_coverage} is not between 0 and 1")
        if options.max_host_operators is not None and options.max_host_operators < 0:
            raise InvalidConfig(f"max host operators {options.max_host_operators} is negative")
        self.data, self.options, self.files = data, options, files
        self._tell: Tell = lambda detail: None
        self.steps: list[Step] = []
        self.pool = ConstantPool()
        self.dram: dict[Tensor, Buffer] = {}

    def run(
        self,
        until: str = "enf",
        progress: Progress = lambda source, target: None,
        tell: Tell = lambda detail: None,
    ) -> Compilation:
        """Runs the stages up to ``until``; ``progress`` is told of each before it starts, ``tell`` how far a long one is."""
        self._tell = tell
        source = source_format(self.data)
        for stage in STAGES:
            progress(source, stage)
            getattr(self, f"_{stage}")()
            if stage == until:
                break
            source = stage
        return self

    def _dfg(self) -> None:
        self.dfg = import_model(
            self.data,
            batch_size=self.options.batch_size,
            selection=self.options.selection,
            files=self.files,
        )
        dfg_legality.check(self.dfg)

    def _ldfg(self) -> None:
        self.ldfg = lower(self.dfg, self.release, self._tell)
        limits.check_lowered(sum(op.op_type.startswith("npu.") for op in self.ldfg.operators))
        ldfg_legality.check(self.ldfg)
        estimate_host(self.ldfg, self.target)
        if self.options.min_npu_coverage:
            self._check_coverage()
        if self.options.max_host_operators is not None:
            self._check_host_operators(self.options.max_host_operators)

    def _check_coverage(self) -> None:
        """Refuses a model of which the NPU does less than is asked for, or of which nobody can tell."""
        reached = coverage(self.ldfg)
        asked = f"at least {_percent(self.options.min_npu_coverage)} are asked for (min NPU coverage)"
        if reached.share is None:
            raise LowCoverage(
                f"nobody can tell how much of the model's multiply-accumulates the NPU does, and {asked}: "
                f"those of {_unknown(unknown_macs(self.dfg))} cannot be known"
            )
        if reached.share < self.options.min_npu_coverage:
            did = f"{_percent(reached.share)} of the model's {WORK[reached.basis]}"
            raise LowCoverage(f"the NPU does {did}, and {asked}")

    def _check_host_operators(self, most: int) -> None:
        """Refuses a model of which more operators run on the host than are allowed."""
        operators, verdicts = self.ldfg.graph.operators, self.ldfg.verdicts
        on_host = Counter(op.op_type for op in operators if verdicts[op].placed_on != "npu")
        if on_host.total() > most:
            kinds = [f"{count} x {kind}" for kind, count in on_host.most_common(5)]
            kinds += ["…"] * (len(on_host) > 5)
            raise LowCoverage(
                f"{on_host.total()} of {len(operators)} operators run on the host ({', '.join(kinds)}), "
                f"and at most {most} may (max host operators)"
            )

    def _cdfg(self) -> None:
        self.cdfg = cluster(self.ldfg)
        cdfg_legality.check(self.ldfg.graph, self.cdfg)

    def _gir(self) -> None:
        """Tiles and places; the tensors that cross between clusters, users and the host get their DRAM buffers here."""
        crossing = [*self.ldfg.graph.inputs]
        for c in self.cdfg:
            crossing += c.outputs
        for t in crossing:
            if t not in self.dram and not t.is_constant:
                self.dram[t] = Buffer(t.name, t.size * ITEMSIZE.get(t.dtype, 1), Space.DRAM)
        npu = [c for c in self.cdfg if c.kind == "npu"]
        self.residents, self.gir = schedule(
            npu, self.target, self.pool, self.dram, self.options.optimize, self._tell
        )
        limits.check_bytes(
            self.pool.buffer.size, self._own, "the constants of the NPU's operators, each with its own,"
        )
        for segment in self.gir.values():
            gir_legality.check(segment, self.target)

    def _lir(self) -> None:
        linearizer = Linearizer(self.target)
        for buffer in self.dram.values():
            linearizer.dram_buffer(buffer)
        linearizer.setup(self.residents.works)
        host_bytes = 0
        for c in self.cdfg:
            if c.kind == "npu":
                segment = self.gir[c]
                for buffer in segment.scratch:
                    linearizer.dram_buffer(buffer)
                self.steps.append(NpuStep(*linearizer.segment(segment)))
            else:
                model = extract_host_model(self.ldfg.graph, c.operators, c.inputs, c.outputs)
                self.steps.append(HostStep(c, model, self._host_us(c)))
                host_bytes += len(model)
                limits.check_bytes(
                    host_bytes, self._own, "the models of the host's parts, each with all that it reads,"
                )
        self.lir = linearizer.finish()
        lir_legality.check(self.lir, self.steps, self.target)
        if self.dram_bytes > self.target.memory_bytes:
            raise OutOfDram(out_of_memory(self.target))
        if self.beyond_dram and "out-of-dram" in self.options.deny:
            raise OutOfDram(f"{self.beyond_dram} (denied: out-of-dram)")

    @property
    def _own(self) -> int:
        """The bytes of the model itself; constants may lie beside its file."""
        return len(self.data) + self.ldfg.constant_bytes

    def _enf(self) -> None:
        for t in self.ldfg.graph.outputs:
            if t.is_constant:
                self.pool.place(t)
        self.enf = self._encoder().sections(self.metadata(), self.debug_map)
        self.program = enf_legality.check(self.enf)

    def _encoder(self) -> Encoder:
        return Encoder(self.ldfg.graph, self.lir, self.pool, self.steps, self.dram)

    @cached_property
    def debug_map(self) -> enf_pb2.DebugMap:
        """Where each command comes from, from the stage "lir" on."""
        order = {op: i for i, op in enumerate(self.ldfg.graph.operators)}
        debug = enf_pb2.DebugMap()
        for op in self.ldfg.graph.operators:
            placed_on = self.ldfg.verdicts[op].placed_on
            work = macs(op, self.dfg.format)
            row = debug.operators.add(
                name=op.name, op_type=op.written_type, placed_on=placed_on, macs=work or 0
            )
            if work is None:
                row.unknown_macs = True
        layers: dict[int, int] = {}  # operators that were lowered together share their origins
        for op in self.lir.operators:
            origins = self.ldfg.origins[op]
            if id(origins) not in layers:
                layers[id(origins)] = order[_layer(origins, self.dfg.format)] if origins else 0
            debug.command_operator.append(layers[id(origins)])
        return debug

    # -- figures ----------------------------------------------------------------------------------------------------

    @property
    def dram_bytes(self) -> int:
        return self.pool.buffer.size + self.lir.dram_bytes

    @cached_property
    def performance(self) -> Performance:
        """What one run is predicted to take, from the stage "lir" on."""
        encoder = self._encoder()
        facts = enf_pb2.Metadata(batch_size=self.options.batch_size, dram_bytes=self.dram_bytes)
        plan, _ = encoder.plan()
        return analyze(self.lir.commands, plan.steps, self.debug_map, encoder.interface(), facts, self.target)

    @property
    def beyond_dram(self) -> str | None:
        """A sentence about a program that DRAM does not hold, with what that costs; else None."""
        beyond = self.target.host_memory_bytes(self.dram_bytes)
        if not beyond:
            return None
        return (
            f"the program needs {self.dram_bytes} bytes of DRAM, {self.target.name} has {self.target.dram_bytes}: the other "
            f"{beyond} stay in host memory and cross PCIe in every run, which is estimated to take "
            f"{timing.transfer_us(self.target, beyond):,.0f} us; use a smaller batch"
        )

    @property
    def latency_us(self) -> float:
        """Microseconds of one run, see furiosa.enf.performance."""
        return round(self.performance.latency_us, 3)

    def _host_us(self, c: Cluster) -> float:
        count, moved = total(self.dfg, c.operators), sum(map(moved_bytes, c.operators))
        return round(timing.host_us(self.target, count, moved), 3)

    def metadata(self) -> enf_pb2.Metadata:
        """The section "metadata"."""
        return enf_pb2.Metadata(
            compiler_version=__version__,
            target_npu=self.target.name,
            batch_size=self.options.batch_size,
            source_format=self.ldfg.graph.format,
            source_sha256=hashlib.sha256(self.data).digest(),
            sram_peak_bytes=self.lir.sram_peak,
            dram_bytes=self.dram_bytes,
            working_dram_bytes=self.lir.dram_bytes,
            latency_us=self.latency_us,
            compatibility=self.release,
            optimize=self.options.optimize,
            selection=self.selection,
            **coverage(self.ldfg)._asdict(),
        )

    @property
    def selection(self) -> enf_pb2.Selection | None:
        """What was chosen of the source, in one order however it was said; None where it is compiled as it is.  From the stage "dfg" on."""
        chosen = self.dfg.selection
        if not chosen:
            return None
        shapes = [enf_pb2.InputShape(name=n, shape=s) for n, s in sorted(chosen.input_shapes.items())]
        cut = {"inputs": chosen.inputs, "outputs": chosen.outputs}
        return enf_pb2.Selection(input_shapes=shapes, signature=chosen.signature, **cut)


def _layer(origins: list[Operator], source_format: str) -> Operator:
    """Of the source operators that a command stands for the one that names it: the first that computes, most of all."""
    return max(origins, key=lambda op: (macs(op, source_format) or 0, op.op_type not in CONVERSIONS))


def _unknown(operators: list[tuple[Operator, str]]) -> str:
    """Operators with the reasons why their multiply-accumulates cannot be known; not more than three."""
    shown = [f"{op.written_type} '{op.name}' ({reason})" for op, reason in operators[:3]]
    more = len(operators) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _percent(share: float) -> str:
    return f"{100 * share:.4f}".rstrip("0").rstrip(".") + " %"


def compile_model(
    data: bytes,
    *,
    target_npu: str = DEFAULT_TARGET,
    batch_size: int = 1,
    compatibility: str = vendor.LATEST,
    min_npu_coverage: float = 0.0,
    max_host_operators: int | None = None,
    deny: tuple[str, ...] = (),
    optimize: int = 1,
    selection: Selection = EVERYTHING,
    files: ModelFiles | None = None,
    progress: Progress = lambda source, target: None,
    tell: Tell = lambda detail: None,
) -> bytes:
    """Compiles the bytes of a TFLite or ONNX model to the bytes of an ENF.

    Args:
        data: the model file.
        target_npu: "warboy" or "warboy-2pe".
        batch_size: multiplies dimension 0 of every input and output.
        compatibility: the release of the vendor's SDK whose operators the NPU may take, "0.6.3" or "0.10", or "latest".
        min_npu_coverage: the least share of the multiply-accumulates, 0 to 1, that the NPU must do; of the operators
            in a model without any.
        max_host_operators: how many of the model's operators may run on the host; None for any number.
        deny: the warnings that are errors, of WARNINGS: "out-of-dram", a program that the card's DRAM does not hold.
        optimize: 0, 1 or 2: how much is tried for a schedule that takes less time.
        selection: sizes of open dimensions, and tensors at which the model is cut, see furiosa.compiler.selection.
        files: where external data of an ONNX model are read from; None refuses them.
        progress, tell: as of ``Compilation.run``.

    Raises:
        CompileError: see furiosa.compiler.errors.
    """
    options = Options(
        target_npu,
        batch_size,
        compatibility,
        min_npu_coverage,
        deny,
        optimize,
        selection,
        max_host_operators,
    )
    compilation = Compilation(data, options, files=files)
    return container.to_bytes(compilation.run("enf", progress, tell).enf)
