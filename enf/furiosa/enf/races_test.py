"""The verifier against a plain definition of a race, on random programs with right, missing and superfluous waits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine, Space
from furiosa.enf.testing.programs import Program, command, const, dram, ranged, sram

LOAD, STORE, PE = range(Engine.COUNT)
SIZE = 48  # bytes of SRAM and of DRAM that the programs use

Span = tuple[int, int, int]  # memory, first byte, end


def touched(c: Command) -> tuple[list[Span], list[Span]]:
    """What a command reads, and what it writes."""
    spans = [(r.space, r.address, r.address + r.extent) for r in c.operands]
    return [s for s in spans[:-1] if s[0] != Space.CONST], spans[-1:]


def conflict(a: Command, b: Command) -> bool:
    """Whether the two touch the same byte, and one of them writes it."""

    def meet(some: list[Span], others: list[Span]) -> bool:
        return any(s[0] == o[0] and s[1] < o[2] and o[1] < s[2] for s in some for o in others)

    (reads_a, writes_a), (reads_b, writes_b) = touched(a), touched(b)
    return meet(writes_a, reads_b + writes_b) or meet(reads_a, writes_b)


def places(commands: list[Command]) -> list[int]:
    """For each command its place in its engine's order, from 1."""
    counts, out = [0] * Engine.COUNT, []
    for c in commands:
        counts[c.engine] += 1
        out.append(counts[c.engine])
    return out


def ended_before(commands: list[Command]) -> list[set[int]]:
    """For each command those that must have ended when it starts, by engine order and waits, over any number of steps."""
    out: list[set[int]] = []
    order = places(commands)
    for i, c in enumerate(commands):
        before: set[int] = set()
        for j in range(i):
            other = commands[j].engine
            if other == c.engine or order[j] <= c.waits[other]:
                before |= {j} | out[j]
        out.append(before)
    return out


def races(commands: list[Command], first: int = 0) -> bool:
    """Whether two commands race; those before ``first`` have ended before the rest starts."""
    before, everyone = ended_before(commands), range(first, len(commands))
    return any(
        conflict(commands[i], commands[j]) and i < j and i not in before[j]
        for j in everyone
        for i in everyone
    )


def with_waits(draw, commands: list[Command]) -> list[Command]:
    """Each command waits for whom it must, or for somewhat less or more."""
    order, out = places(commands), []
    for j, c in enumerate(commands):
        waits, issued = [0] * Engine.COUNT, [0] * Engine.COUNT
        for i in range(j):
            issued[commands[i].engine] = order[i]
            if conflict(commands[i], c):
                waits[commands[i].engine] = order[i]
        for e in range(Engine.COUNT):
            change = draw(st.integers(0, 19))
            if change == 0:
                waits[e] = draw(st.integers(0, issued[e]))
            elif change == 1:
                waits[e] = max(waits[e] - 1, 0)
        out.append(Command(c.instruction, c.engine, tuple(waits), c.operands, c.params))
    return out


def verdict(p: Program) -> bool:
    """Whether the verifier finds a race; any other complaint is an error of the test."""
    try:
        p.load()
    except EnfVerifyError as e:
        assert "it races" in str(e)
        return True
    return False


@st.composite
def shared(draw) -> Program:
    """One buffer in each memory, written before the step in which random commands touch parts of them."""
    p = Program()
    p.constants = bytes(SIZE)
    commands = []
    for _ in range(draw(st.integers(1, 9))):
        size = draw(st.integers(1, SIZE // 2))
        a, b = draw(st.integers(0, SIZE // 2 - size)), draw(st.integers(SIZE // 2, SIZE - size))
        a, b = draw(st.permutations((a, b)))
        kind = draw(st.integers(0, 4))
        tile = (1, 1, 1, size)
        if kind == 0:
            commands.append(command("LOAD", LOAD, const(0, *tile), sram(a, *tile)))
        elif kind == 1:
            commands.append(command("LOAD", LOAD, dram(a, *tile), sram(b, *tile)))
        elif kind == 2:
            commands.append(command("STORE", STORE, sram(a, *tile), dram(b, *tile)))
        elif kind == 3:
            commands.append(command("FILL", PE, sram(a, *tile)))
        else:
            six = (1, 1, *tile)
            engine = PE
            commands.append(command("COPY", engine, sram(a, *six), sram(b, *six)))
    commands = with_waits(draw, commands)
    p.add("FILL", PE, sram(0, 1, 1, 1, SIZE))
    p.add("STORE", STORE, sram(0, 1, 1, 1, SIZE), dram(0, 1, 1, 1, SIZE), waits=(0, 0, 1))
    for c in commands:
        waits = tuple(w + (e in (PE, STORE)) if w else 0 for e, w in enumerate(c.waits))
        p.commands.append(Command(c.instruction, c.engine, waits, c.operands, c.params))
    p.steps = [ranged(0, 2), ranged(2, len(commands))]
    p.dram = [(0, SIZE)]
    p.sram = [(0, SIZE, 0, len(p.commands) - 1)]
    return p


@settings(max_examples=500, deadline=None)
@given(shared())
def test_in_shared_buffers(program):
    assert verdict(program) == races(program.commands, first=2)


@st.composite
def successive(draw) -> Program:
    """Each command has a buffer of its own, at addresses that buffers before it had."""
    p = Program()
    p.constants = bytes(SIZE)
    commands = []
    for i in range(draw(st.integers(1, 12))):
        size = draw(st.integers(1, SIZE))
        at = draw(st.integers(0, SIZE - size))
        engine = draw(st.sampled_from((LOAD, PE)))
        tile = (1, 1, 1, size)
        operands = (const(0, *tile), sram(at, *tile)) if engine == LOAD else (sram(at, *tile),)
        commands.append(command("LOAD" if engine == LOAD else "FILL", engine, *operands))
        p.sram.append((at, size, i, i))
    p.commands = with_waits(draw, commands)
    return p


@settings(max_examples=500, deadline=None)
@given(successive())
def test_in_memory_that_is_used_again(program):
    assert verdict(program) == races(program.commands)


def test_the_definition_itself():
    """A transfer and a PE that write the same byte race, unless one waits, directly or through a third."""
    fill = command("FILL", PE, sram(0, 1, 1, 1, 1))

    def load(at: int, *waits: int) -> Command:
        return command("LOAD", LOAD, const(0, 1, 1, 1, 1), sram(at, 1, 1, 1, 1), waits=waits)

    assert races([fill, load(0, 0, 0, 0)])
    assert not races([fill, load(0, 0, 0, 1)])
    assert not races([fill, load(1, 0, 0, 0)])
    store = command("STORE", STORE, sram(9, 1, 1, 1, 1), dram(0, 1, 1, 1, 1), waits=(0, 0, 1))
    assert not races([fill, store, load(0, 0, 1, 0)])
