"""What of a program is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from furiosa.enf import enf_pb2
    from furiosa.enf.isa import Command
    from furiosa.enf.reader import Enf
    from furiosa.enf.target import Target


class Program(NamedTuple):
    """The messages of enf.proto, the decoded commands, and the machine."""

    metadata: enf_pb2.Metadata
    interface: enf_pb2.Interface
    plan: enf_pb2.Plan
    memory: enf_pb2.MemoryPlan
    debug: enf_pb2.DebugMap
    commands: list[Command]
    target: Target


def of_enf(enf: Enf) -> Program:
    """That of a loaded ENF."""
    return Program(*(getattr(enf, name) for name in Program._fields))
