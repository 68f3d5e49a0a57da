"""The program between lir and enf: its steps, and the figures that are known once it is linear."""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler.cdfg.cluster import Cluster


@dataclass(slots=True)
class NpuStep:
    """A range of commands."""

    first: int
    count: int


@dataclass(slots=True)
class HostStep:
    """A host cluster as a model of the source's format; ``estimated_us`` of host time, by the target's host rates."""

    cluster: Cluster
    model: bytes
    estimated_us: float


Step = NpuStep | HostStep
