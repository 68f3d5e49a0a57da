"""How much memory a worker and its requests have, and what they may have."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20
MAX_MIB = 1 << 30
# what the machine, or the control group in version 2 and 1, has
CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of ru_maxrss
MORE_LIKELY = 500  # of 1000: as if it had half of all memory besides its own
HINT = "--worker_extra_flag=NpuCompile=--memory_mb=N"


class BadFlag(Exception):
    """A flag that a worker does not take, in one sentence."""


class Limits(NamedTuple):
    """In bytes: ``request`` is what one request may have of its own, ``worker`` what the process between requests may hold."""

    request: int
    worker: int


def limits(flags: list[str]) -> Limits:
    """Reads ``--memory_mb=N`` (of a request; default: half of the machine) and ``--recycle_mb=N`` (of the worker; default: 512).

    Raises:
        BadFlag: it is another flag, or N is no number from 1 to ``MAX_MIB``.
    """
    values = {"--memory_mb": max(1, machine() // 2 // MIB), "--recycle_mb": 512}
    for flag in flags:
        name, _, value = flag.partition("=")
        if name not in values:
            raise BadFlag(f"unknown flag '{flag}', known: {', '.join(f'{known}=N' for known in values)}")
        if not (value.isascii() and value.isdecimal() and 1 <= int(value[:12]) <= MAX_MIB):
            raise BadFlag(f"{name} is '{value}', but must be a number of MiB from 1 to {MAX_MIB}")
        values[name] = int(value)
    return Limits(values["--memory_mb"] * MIB, values["--recycle_mb"] * MIB)


def machine() -> int:
    """Bytes of memory that this machine, or the control group that it seems to be, has."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in CGROUPS:
        try:
            size = min(size, int(file.read_text("ascii")))
        except (OSError, ValueError):  # none, or "max"
            pass
    return size


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def confine(size: int) -> None:
    """From here on this process gets at most ``size`` bytes of private memory: an allocation beyond them fails.

    Files that are mapped to be read do not count.  Linux; elsewhere the limit may not hold.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def go_first() -> None:
    """Where the machine runs out of memory, Linux ends this process before the one that it was forked from; elsewhere nothing.

    A worker that is ended itself answers no request, and Bazel 7 then waits for ever.
    """
    with suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+", encoding="ascii") as f:
        score = min(int(f.read()) + MORE_LIKELY, 1000)  # a process may always raise its own
        f.seek(0)
        f.write(str(score))


def restart() -> None:
    """Begins this process anew, in place: the same process id and pipes, nothing else left.

    Returns only where the system cannot.
    """
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:
        pass
