"""Seeded random quantisation parameters and tensors for the tests of this folder."""

from __future__ import annotations

import numpy as np


class RandomCase:
    """Draws everything from one seed; `dtype` is int8 or uint8."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng = np.random.default_rng([seed, dtype == "uint8"])
        self.dtype = dtype
        self.info = np.iinfo(dtype)

    def zero_point(self) -> int:
        return int(self.rng.integers(self.info.min, self.info.max + 1))

    def scale(self, low: float = 0.05, high: float = 3.0) -> float:
        """A float32 scale, evenly distributed in its logarithm."""
        return float(np.float32(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def near(self, scale: float) -> float:
        """A scale that makes many ties with `scale`: a simple multiple of it, or the float32 beside that."""
        simple = np.float32(scale) * np.float32(self.rng.choice([0.25, 0.5, 0.75, 1, 1.5, 2, 3]))
        return float(
            self.rng.choice(
                [simple, np.nextafter(simple, np.float32(9)), np.nextafter(simple, np.float32(0))]
            )
        )

    def tensor(self, *shape: int) -> np.ndarray:
        return self.rng.integers(self.info.min, self.info.max + 1, shape).astype(self.dtype)

    def peaked(self, *shape: int) -> np.ndarray:
        """Values around a random one, so that means and maxima differ between tensors."""
        centre, spread = self.rng.uniform(self.info.min, self.info.max), self.rng.uniform(1, 60)
        return self.rng.normal(centre, spread, shape).clip(self.info.min, self.info.max).astype(self.dtype)
