"""Operators that have to stay together: in groups, which stand in an order in which each reads only what earlier ones make."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Sequence


def joined(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """For each operator the first one of its group: operators that share a key are in one.

    Args:
        keys: those of each operator.
    """
    first = list(range(len(keys)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    holder: dict[Hashable, int] = {}
    for i, own in enumerate(keys):
        for key in own:
            a, b = root(holder.setdefault(key, i)), root(i)
            first[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(keys))]


def in_order(group_of: list[int], reads: Sequence[Iterable[int]]) -> list[list[int]]:
    """The groups, members sorted, so that each reads only what earlier ones make; groups in a circle are merged.

    Args:
        group_of: of each operator the number of its group.
        reads: of each operator those whose results it reads; without the groups they go in no circle.
    """
    sources: dict[int, set[int]] = {g: set() for g in group_of}
    for i, makers in enumerate(reads):
        sources[group_of[i]] |= {group_of[m] for m in makers} - {group_of[i]}
    merged = _circles(sources)
    apart: dict[int, set[int]] = {g: set() for g in merged.values()}
    for g, needed in sources.items():
        apart[merged[g]] |= {merged[s] for s in needed} - {merged[g]}
    members: dict[int, list[int]] = {g: [] for g in _sorted(apart)}
    for i, g in enumerate(group_of):
        members[merged[g]].append(i)
    return list(members.values())


def _circles(sources: dict[int, set[int]]) -> dict[int, int]:
    """For each group the smallest one that it shares a circle with, itself where it is in none.

    Kosaraju's algorithm: groups in the order in which a search along the sources leaves them; from the last one on, what a search against
    them finds of the rest is one circle.
    """
    left: list[int] = []
    seen: set[int] = set()
    for start in sources:
        stack = [(start, iter(()))] if start not in seen else []
        while stack:
            group, waiting = stack.pop()
            if group not in seen:
                seen.add(group)
                waiting = iter(sorted(sources[group]))
            following = next((g for g in waiting if g not in seen), None)
            if following is None:
                left.append(group)
            else:
                stack += [(group, waiting), (following, iter(()))]
    readers: dict[int, list[int]] = {g: [] for g in sources}
    for group, needed in sources.items():
        for source in needed:
            readers[source].append(group)
    circle: dict[int, list[int]] = {}
    for start in reversed(left):
        if start in circle:
            continue
        circle[start] = found = [start]
        for group in found:  # which grows
            for reader in readers[group]:
                if reader not in circle:
                    circle[reader] = found
                    found.append(reader)
    return {g: min(found) for g, found in circle.items()}


def _sorted(sources: dict[int, set[int]]) -> list[int]:
    """Topological order of groups in no circle, smallest first where there is a choice."""
    followers: dict[int, list[int]] = {g: [] for g in sources}
    missing = {g: len(s) for g, s in sources.items()}
    for g, needed in sources.items():
        for s in needed:
            followers[s].append(g)
    ready = sorted(g for g, n in missing.items() if n == 0)
    order = []
    while ready:
        g = heapq.heappop(ready)
        order.append(g)
        for follower in followers[g]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, follower)
    return order
