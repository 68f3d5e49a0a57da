"""Runs a program and looks at tensors in the simulated memory while they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from furiosa.enf.enf_pb2 import CommandRange, HostCall
from furiosa.enf.reader import Enf
from furiosa.runtime.program import Program

if TYPE_CHECKING:
    from furiosa.compiler.report.places import Piece, Place


class ObservedProgram(Program):
    """A program that stops after each command that completes a piece of a tensor, and hands out the tensors.

    ``visit(i, array)`` gets the tensor of ``places[i]`` as the source model says, an array of its own.  To stop between two
    commands changes no value: program order is one of the orders that the waits of the commands allow.
    """

    def __init__(self, enf: Enf, places: list[Place | None]):
        super().__init__(enf, host_process=True)
        self.visit: Callable[[int, np.ndarray], None] = lambda i, array: None
        self._stops: dict[int, list[tuple[int, int, Place, Piece]]] = {}
        for i, place in enumerate(places):
            for piece in place.pieces if place is not None else ():
                self._stops.setdefault(place.step, []).append((piece.command or 0, i, place, piece))
        self._begun: dict[int, np.ndarray] = {}  # the bytes of tensors of which pieces are still to come

    def _run_step(self, index: int, step: HostCall | CommandRange) -> None:
        stops = sorted(self._stops.get(index, ()), key=lambda s: s[:2])
        if isinstance(step, HostCall):
            super()._run_step(index, step)
            for _, i, place, piece in stops:
                self._visit(i, place, piece)
            return
        done = step.first
        for command, i, place, piece in stops:
            if command >= done:
                self._simulator.run(done, command + 1 - done)
                done = command + 1
            self._visit(i, place, piece)
        self._simulator.run(done, step.first + step.count - done)

    def _visit(self, i: int, place: Place, piece: Piece) -> None:
        whole = self._begun.pop(i, None)
        if whole is None:
            whole = np.empty(max(p.end for p in place.pieces), np.int8)
        size = piece.end - piece.start
        whole[piece.start : piece.end] = self._simulator.read(piece.address, "int8", (size,), piece.space)
        if piece is not place.pieces[-1]:
            self._begun[i] = whole
            return
        array = whole.view(self._simulator.dtype(place.dtype)).reshape(place.shape)
        if place.is_shifted:
            array = array.view(np.uint8) ^ np.uint8(0x80)
        if place.perm is not None:
            array = array.transpose(place.perm)
        self.visit(i, np.array(array, order="C"))
