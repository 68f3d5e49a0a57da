"""The result of a measurement, as text and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

SCHEMA_VERSION = 1
COMPILED, SOURCE, FLOAT = "compiled", "source", "float"  # the models, by what they are


@dataclass
class Result:
    """What was measured on how many samples, and whether it is enough.

    ``values`` are the metric's by model (``compiled``, and ``source`` and ``float`` where they were run and have one); ``drop`` is by how much the
    compiled model's is below ``base``'s, None without one.  ``min_value`` and ``max_drop`` are the gates, None where there is none.
    """

    model: str
    metric: str
    what: str
    samples: int
    shard: tuple[int, int] | None
    min_value: float | None
    max_drop: float | None
    models: dict[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    @property
    def base(self) -> str | None:
        """The model that a drop is counted from: the float one, else the source."""
        return next((m for m in (FLOAT, SOURCE) if m in self.values), None)

    @property
    def drop(self) -> float | None:
        return None if self.base is None else self.values[self.base] - self.values[COMPILED]

    @property
    def failures(self) -> list[str]:
        """A sentence for each gate that is not passed; NaN passes none."""
        value, drop, sentences = self.values[COMPILED], self.drop, []
        if self.min_value is not None and not value >= self.min_value:
            sentences.append(f"{self.what} is {_text(value)}, below the least of {_text(self.min_value)}")
        # a billionth for what subtraction of decimal numbers leaves: 0.975 - 0.97 is more than 0.005
        if self.max_drop is not None and not (drop is not None and drop <= self.max_drop + 1e-9):
            sentences.append(
                f"{self.what} is {_text(drop)} below that of {self.models[self.base]}, more than {_text(self.max_drop)}"
            )
        return sentences


def text(result: Result) -> list[str]:
    """Lines for a terminal."""
    part = f", shard {result.shard[0] + 1} of {result.shard[1]}" if result.shard else ""
    lines = [f"{result.what} on {result.samples} sample{'s' * (result.samples != 1)}{part}"]
    width = max(len(result.models[m]) for m in result.values)
    for model, value in result.values.items():
        lines.append(f"  {result.models[model]:<{width}}  {_text(value)}  ({model})")
    if result.drop is not None:
        lines.append(f"  drop from {result.base} {_text(result.drop)}")
    return lines + ([f"FAILED: {s}" for s in result.failures] or ["passed"] * _is_gated(result))


def to_json(result: Result) -> bytes:
    """The JSON that docs/measure.md describes; a number that is not finite is a string, "inf", "-inf" or "nan"."""
    shard = {"index": result.shard[0], "count": result.shard[1]} if result.shard else None
    found = {
        "schema_version": SCHEMA_VERSION,
        "model": result.model,
        "metric": result.metric,
        "samples": result.samples,
        "shard": shard,
        "values": {m: {"file": result.models[m], "value": _number(v)} for m, v in result.values.items()},
        "base": result.base,
        "drop": _number(result.drop),
        "min_value": result.min_value,
        "max_drop": result.max_drop,
        "failures": result.failures,
    }
    return (json.dumps(found, indent=2, allow_nan=False) + "\n").encode("ascii")


def _is_gated(result: Result) -> bool:
    return result.min_value is not None or result.max_drop is not None


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"
