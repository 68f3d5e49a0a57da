"""The reference runtimes in a process of their own: a model that ends its runtime is refused, and nothing else ends.

One process has all models of a comparison.  It is started for the first of them, and again after one has ended it: the others are then loaded
once more where they are next run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from furiosa.runtime import remote
from furiosa.runtime.compare.reference import NAMES, Reference, Refused, open_reference
from furiosa.runtime.remote import Child, Ends, Running, raw

_CODE = "from furiosa.runtime.compare.isolated import main; main(*map(int, sys.argv[1:]))"
_MOST = 8 << 30  # bytes of tensors that an answer may have
_KINDS = "biufc"  # of dtypes that go from one process to the other


def spawn(ends: Ends) -> Child:
    """A new interpreter.

    Raises:
        NoHostProcess: there is none to start.
    """
    return remote.spawn(ends, _CODE, "the layers of the reference")


class References:
    """The models of one format that are loaded in the process.  Not for several threads at once."""

    def __init__(self, source_format: str, start: Callable[[Ends], Child] = spawn):
        self.source_format, self._start = source_format, start
        self._running: Running | None = None
        self._loaded: set[int] = set()
        self._dropped: list[int] = []
        self._numbers = itertools.count()

    def open(
        self,
        model: bytes,
        external: Mapping[str, memoryview] = MappingProxyType({}),
        *,
        signature: str = "",
        optimised: bool = True,
    ) -> Reference:
        """A model, loaded; arguments as of ``open_reference``.

        Raises:
            Refused: the runtime refuses the model, or has ended its process.
            NoHostProcess: no process can be started.
        """
        what = {"format": self.source_format, "signature": signature, "optimised": optimised}
        what["external"] = list(external)
        return _Isolated(self, next(self._numbers), what, [model, *external.values()])

    def load(self, number: int, what: Mapping[str, Any], blobs: Sequence[bytes | memoryview]) -> None:
        """Loads a model under a number where that is not done; raises as ``open``."""
        if self._running is None:
            self._running, self._loaded, self._dropped = Running(self._start), set(), []
        if number not in self._loaded:
            self._ask({"load": number, **what}, blobs)
            self._loaded.add(number)

    def run(self, number: int, inputs: Sequence[np.ndarray], names: Sequence[str] | None) -> list[np.ndarray]:
        """One inference of a model that is loaded.

        Raises:
            Refused: the runtime fails, or has ended its process.
        """
        about = {"run": number, "inputs": _described(inputs), "names": None if names is None else list(names)}
        return self._ask(about, [raw(a) for a in inputs])

    def drop(self, number: int) -> None:
        """Lets the process forget a model, with what it is asked next."""
        self._dropped.append(number)

    def close(self) -> None:
        """Ends the process, if it runs; may be called again."""
        running, self._running = self._running, None
        if running is not None:
            running.end()

    def _ask(self, header: dict[str, Any], blobs: Sequence[Any]) -> list[np.ndarray]:
        results: list[np.ndarray] = []
        answers: list[dict[str, Any]] = []

        def room(answer: dict[str, Any]) -> list[memoryview]:
            answers.append(answer)
            results.extend(_made(answer.get("outputs", [])))
            return [raw(a) for a in results]

        dropped, self._dropped = self._dropped, []
        try:
            error = self._running.ask({**header, "drop": dropped}, blobs, room)
        except remote.GONE:
            running, self._running = self._running, None
            how, _ = running.obituary()
            raise Refused(f"{NAMES[self.source_format]} fails on it: its process {how}") from None
        except BaseException:  # Ctrl-C, say: nobody waits for the answer any more
            self.close()
            raise
        if error is not None:
            raise Refused(f"{NAMES[self.source_format]} fails on it: {error[1]}")
        if "refused" in answers[0]:
            raise Refused(str(answers[0]["refused"])[: remote.MAX_SENTENCE])
        return results

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Isolated:
    """One model in the process, loaded again where another has ended it."""

    def __init__(
        self, references: References, number: int, what: dict[str, Any], blobs: Sequence[bytes | memoryview]
    ):
        """Loads it; raises as ``References.open``."""
        self._references, self._number, self._what, self._blobs = references, number, what, blobs
        references.load(number, what, blobs)

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str] | None = None) -> list[np.ndarray]:
        self._references.load(self._number, self._what, self._blobs)
        return self._references.run(self._number, inputs, names)

    def __del__(self) -> None:
        self._references.drop(self._number)


def _described(arrays: Sequence[np.ndarray]) -> list[tuple[str, tuple[int, ...]]]:
    return [(a.dtype.str, a.shape) for a in arrays]


def _made(described: list[Any]) -> list[np.ndarray]:
    """Arrays for what another process announces.

    Raises:
        ValueError, TypeError: it announces what no tensor is, or too many bytes.
    """
    kinds = [(np.dtype(str(d)), tuple(int(n) for n in shape)) for d, shape in described]
    if any(d.kind not in _KINDS or min(s, default=0) < 0 for d, s in kinds):
        raise ValueError("tensors that are none")
    if sum(d.itemsize * math.prod(s) for d, s in kinds) > _MOST:
        raise ValueError(f"more than {_MOST} bytes")
    return [np.empty(s, d) for d, s in kinds]


# -- the process ------------------------------------------------------------------------------------------------------------


def main(socket_: int, life: int) -> None:
    """The process that ``spawn`` starts."""
    remote.main(service(), socket_, life)


def service() -> remote.Service:
    """What it does."""
    loaded: dict[int, Reference] = {}

    def answer(header: dict[str, Any], blobs: list[bytearray]) -> tuple[dict[str, Any], list[Any]]:
        for number in header["drop"]:
            loaded.pop(number, None)
        try:
            if "load" in header:
                loaded[header["load"]] = _load(header, blobs)
                return {}, []
            inputs = [
                np.frombuffer(b, d).reshape(s) for (d, s), b in zip(header["inputs"], blobs, strict=True)
            ]
            outputs = loaded[header["run"]].run(inputs, header["names"])
        except Refused as e:
            return {"refused": str(e)}, []
        if any(o.dtype.kind not in _KINDS for o in outputs):
            return {"refused": "it makes something else than tensors of numbers"}, []
        return {"outputs": _described(outputs)}, [raw(o) for o in outputs]

    return answer


def _load(header: dict[str, Any], blobs: list[bytearray]) -> Reference:
    external = dict(zip(header["external"], map(memoryview, blobs[1:]), strict=True))
    return open_reference(
        header["format"],
        bytes(blobs[0]),
        external,
        signature=header["signature"],
        optimised=header["optimised"],
    )
