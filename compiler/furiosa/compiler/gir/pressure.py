"""How much of SRAM the tensors of a cluster take at each operator, as one after the other goes to DRAM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from furiosa.compiler.gir.storage import Storage


class Pressure:
    """Bytes of the tensors in SRAM at the operators 0 to ``count`` - 1 of a cluster.

    A tree over the operators: each question, and each change, takes time that grows with the logarithm of ``count``.
    """

    def __init__(self, storages: Iterable[Storage], count: int):
        self._leaves = 1 << max(count - 1, 0).bit_length()
        self._own = [0] * (
            2 * self._leaves
        )  # bytes that live at all operators of a node, and not of its parent
        self._most = [0] * (
            2 * self._leaves
        )  # the most bytes at one operator of a node, its ancestors' not counted
        self._here: list[list[tuple[int, int, Storage]]] = [[] for _ in range(2 * self._leaves)]
        self._spilled: set[Storage] = set()
        for number, s in enumerate(storages):
            self._add(s, s.size)
            for node in self._nodes(s):
                self._here[node].append((s.size, -number, s))
        for here in self._here:
            here.sort()

    def spill(self, s: Storage) -> None:
        """Sends a tensor to DRAM."""
        self._spilled.add(s)
        self._add(s, -s.size)

    def worst(self) -> tuple[int, int]:
        """The first of the operators at which the most bytes are in SRAM, and how many."""
        node = 1
        while node < self._leaves:
            node *= 2
            if self._most[node] < self._most[node + 1]:
                node += 1
        return node - self._leaves, self._most[1]

    def largest(self, place: int) -> Storage | None:
        """The largest tensor in SRAM at an operator, of equal ones the first; None where there is none."""
        found = []
        node = place + self._leaves
        while node:
            here = self._here[node]
            while here and here[-1][-1] in self._spilled:
                here.pop()
            found += here[-1:]
            node //= 2
        return max(found)[-1] if found else None

    def _nodes(self, s: Storage) -> Iterator[int]:
        """The fewest nodes that together have the operators for which a tensor is needed."""
        low, high = s.first + self._leaves, s.last + self._leaves + 1
        while low < high:
            if low & 1:
                yield low
                low += 1
            if high & 1:
                high -= 1
                yield high
            low, high = low // 2, high // 2

    def _add(self, s: Storage, nbytes: int) -> None:
        for node in self._nodes(s):
            self._own[node] += nbytes
            self._most[node] += nbytes
        for place in (s.first, s.last):
            node = (place + self._leaves) // 2
            while node:
                self._most[node] = self._own[node] + max(self._most[2 * node], self._most[2 * node + 1])
                node //= 2
