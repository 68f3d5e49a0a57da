"""The answer comes from the commands and constants of the file, and from nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.enf import codec, container, enf_pb2, reader
from furiosa.enf.errors import EnfError, EnfFormatError
from furiosa.runtime import session
from furiosa.runtime.errors import FuriosaRuntimeError


def _sections(enf: bytes) -> dict[str, bytes]:
    view = memoryview(enf)
    return {s.name: bytes(view[s.offset : s.offset + s.size]) for s in container.read_table(view)}


def _run(enf: bytes, x: np.ndarray) -> np.ndarray:
    with session.create(enf, device="npu0pe0-1" if b"warboy-2pe" in enf else "npu0pe0") as sess:
        return sess.run(x)[0].numpy()


def test_a_flipped_weight_is_refused(tiny_enf: bytes) -> None:
    table = {s.name: s for s in container.read_table(memoryview(tiny_enf))}
    damaged = bytearray(tiny_enf)
    damaged[table["constants"].offset + 100] ^= 0x40
    with pytest.raises(EnfFormatError, match="constants.*checksum"):
        reader.load(bytes(damaged))


def test_a_flipped_weight_with_its_checksum_changes_the_answer(tiny_enf: bytes, noise: np.ndarray) -> None:
    sections = _sections(tiny_enf)
    constants = bytearray(sections["constants"])
    weights = _weight_bytes(tiny_enf)
    for at in weights:  # the top bit of every weight of one layer: no rounding hides that
        constants[at] ^= 0x80
    changed = container.to_bytes(sections | {"constants": bytes(constants)})
    assert not np.array_equal(_run(changed, noise), _run(tiny_enf, noise))


def _weight_bytes(enf: bytes) -> range:
    """Where the first loaded constants lie: the weights of the first convolution come first among them."""
    for command in reader.load(enf).commands:
        if command.instruction.name == "LOAD" and command.operands[0].space == 2:
            return range(command.operands[0].address, command.operands[0].address + 64)
    raise AssertionError("no constant is loaded")


def test_every_single_command_matters(tiny_enf: bytes, noise: np.ndarray) -> None:
    """Without any one command the verifier refuses the program, or its answer changes."""
    sections = _sections(tiny_enf)
    whole = reader.load(tiny_enf)
    expected = _run(tiny_enf, noise)
    unchanged = []
    for dropped, command in enumerate(whole.commands):
        rest = [c for i, c in enumerate(whole.commands) if i != dropped]
        plan = enf_pb2.Plan.FromString(sections["plan"])
        plan.steps[0].commands.count -= 1
        memory = enf_pb2.MemoryPlan.FromString(sections["memory"])
        for lives in (memory.sram_first, memory.sram_last):
            lives[:] = [min(n - (n > dropped), len(rest) - 1) for n in lives]
        program = container.to_bytes(
            sections
            | {
                "code": codec.encode(rest),
                "plan": plan.SerializeToString(),
                "memory": memory.SerializeToString(),
            }
        )
        try:
            answer = _run(program, noise)
        except (EnfError, FuriosaRuntimeError):
            continue
        if np.array_equal(answer, expected):
            unchanged.append(f"{dropped} {command.instruction.name}")
    assert len(whole.plan.steps) == 1
    assert not unchanged
