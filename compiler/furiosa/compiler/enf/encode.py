"""Stage lir -> enf: the sections of the file."""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler.dfg.graph import Graph, Tensor
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.gir.constants import ConstantPool
from furiosa.compiler.lir.linear import Linear
from furiosa.compiler.program import HostStep, NpuStep, Step
from furiosa.enf import codec, enf_pb2
from furiosa.enf.container import PAGE, Chunked
from furiosa.enf.dtypes import CODE
from furiosa.enf.isa import Space
from furiosa.enf.reader import MAX_MESSAGE
from furiosa.enf.verify import MAX_RANK

MAX_NAME = 40  # characters of an operator's name where there are too many


@dataclass(slots=True)
class Encoder:
    """What the sections are made of."""

    graph: Graph
    linear: Linear
    pool: ConstantPool
    steps: list[Step]
    dram_of: dict[Tensor, object]

    def sections(self, metadata: enf_pb2.Metadata, debug: enf_pb2.DebugMap) -> dict[str, bytes | Chunked]:
        """The content of each section, in no particular order.

        Of names that no reader would take for their sheer size those are shortened or left out that only people read.
        """
        plan, models = self.plan()
        memory = self._memory()
        if memory.ByteSize() > MAX_MESSAGE:
            memory.ClearField("sram_tensor")
            memory.ClearField("dram_tensor")
        if debug.ByteSize() > MAX_MESSAGE:
            for op in debug.operators:
                op.name, op.op_type = op.name[:MAX_NAME], op.op_type[:MAX_NAME]
        pieces = [(at, memoryview(data).cast("B")) for at, data in self.pool.pieces if data.nbytes]
        return {
            "metadata": _serialize(metadata),
            "interface": _serialize(self.interface()),
            "plan": _serialize(plan),
            "code": codec.encode(self.linear.commands),
            "memory": _serialize(memory),
            "debug": _serialize(debug),
            "host_models": models,
            "constants": Chunked(self.pool.buffer.size, pieces),
        }

    def interface(self) -> enf_pb2.Interface:
        """The tensors that users hand over and get."""
        g = self.graph
        return enf_pb2.Interface(
            inputs=[self.descriptor(t) for t in g.inputs],
            outputs=[*map(self.descriptor, g.outputs, g.output_names or [t.name for t in g.outputs])],
        )

    def descriptor(self, t: Tensor, name: str | None = None) -> enf_pb2.TensorDescriptor:
        """A tensor at the interface, there of the given name, or between clusters."""
        if t.dtype not in CODE:
            raise InvalidModel(
                f"tensor '{t.name}' has element type {t.dtype}, which cannot cross into or out of a program"
            )
        if len(t.shape) > MAX_RANK:
            raise InvalidModel(
                f"tensor '{t.name}' has {len(t.shape)} dimensions, and one that crosses into or out of a program has at most "
                f"{MAX_RANK}: merge dimensions with a Reshape"
            )
        d = enf_pb2.TensorDescriptor(
            name=name or t.name, dtype=CODE[t.dtype], shape=t.shape, axes=self._axes(t)
        )
        if t.quantization is not None and t.quantization.scale.size == 1:
            d.quantization.scale = float(t.quantization.scale.reshape(-1)[0])
            d.quantization.zero_point = int(t.quantization.zero_point.reshape(-1)[0])
        if t.is_constant:
            d.space, d.address = Space.CONST, self.pool.place(t)
        else:
            d.space, d.address = Space.DRAM, self.linear.addresses[self.dram_of[t]]
        return d

    def _axes(self, t: Tensor) -> str:
        if len(t.shape) != 4:
            return ""
        return "NHWC" if self.graph.format == "tflite" else "NCHW"

    def plan(self) -> tuple[enf_pb2.Plan, Chunked]:
        """The steps, and the models of the host calls among them."""
        plan = enf_pb2.Plan()
        if self.linear.setup:
            plan.setup.count = self.linear.setup
        models: list[tuple[int, bytes]] = []
        at = 0
        for step in self.steps:
            if isinstance(step, NpuStep):
                plan.steps.add(commands=enf_pb2.CommandRange(first=step.first, count=step.count))
                continue
            assert isinstance(step, HostStep)
            at = -(-at // PAGE) * PAGE
            models.append((at, step.model))
            plan.steps.add(
                host_call=enf_pb2.HostCall(
                    format=self.graph.format,
                    offset=at,
                    size=len(step.model),
                    inputs=[self.descriptor(t) for t in step.cluster.inputs],
                    outputs=[self.descriptor(t) for t in step.cluster.outputs],
                    estimated_us=step.estimated_us,
                )
            )
            at += len(step.model)
        return plan, Chunked(at, models)

    def _memory(self) -> enf_pb2.MemoryPlan:
        lin = self.linear
        return enf_pb2.MemoryPlan(
            sram_address=[x.address for x in lin.sram],
            sram_size=[x.buffer.size for x in lin.sram],
            sram_first=[x.first for x in lin.sram],
            sram_last=[x.last for x in lin.sram],
            sram_tensor=[x.buffer.name for x in lin.sram],
            dram_address=[lin.addresses[b] for b in lin.dram],
            dram_size=[max(b.size, 1) for b in lin.dram],
            dram_tensor=[b.name for b in lin.dram],
        )


def _serialize(message: object) -> bytes:
    return message.SerializeToString(deterministic=True)
