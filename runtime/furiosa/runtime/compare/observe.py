"""Runs a program and looks at tensors in the simulated memory while they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from furiosa.enf.enf_pb2 import CommandRange, HostCall
from furiosa.enf.reader import Enf
from furiosa.runtime.program import Program

if TYPE_CHECKING:
    from furiosa.compiler.report.places import Place


class ObservedProgram(Program):
    """A program that stops after the command that completes a tensor and hands out the tensor.

    ``visit(i, array)`` gets the tensor of ``places[i]`` as the source model says, an array of its own.  To stop between two
    commands changes no value: program order is one of the orders that the waits of the commands allow.
    """

    def __init__(self, enf: Enf, places: list[Place | None]):
        super().__init__(enf)
        self.visit: Callable[[int, np.ndarray], None] = lambda i, array: None
        self._stops: dict[int, list[tuple[int, int, Place]]] = {}
        for i, place in enumerate(places):
            if place is not None:
                self._stops.setdefault(place.step, []).append((place.command or 0, i, place))

    def _run_step(self, index: int, step: HostCall | CommandRange) -> None:
        stops = sorted(self._stops.get(index, ()), key=lambda s: s[:2])
        if isinstance(step, HostCall):
            super()._run_step(index, step)
            for _, i, place in stops:
                self.visit(i, self._tensor(place))
            return
        done = step.first
        for command, i, place in stops:
            if command >= done:
                self._simulator.run(done, command + 1 - done)
                done = command + 1
            self.visit(i, self._tensor(place))
        self._simulator.run(done, step.first + step.count - done)

    def _tensor(self, place: Place) -> np.ndarray:
        array = self._simulator.read(place.address, place.dtype, place.shape, place.space)
        if place.is_shifted:
            array = array.view(np.uint8) ^ np.uint8(0x80)
        if place.perm is not None:
            array = array.transpose(place.perm)
        return np.array(array, order="C")
