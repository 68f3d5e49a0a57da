"""Expected mean and mean square of a tensor, carried through a network analytically.

With zero-mean random weights, a convolution's expected mean square is fan_in * var(w) * mean_square(x) whatever the
distribution of x, so two numbers a tensor are enough to place every batch normalisation and every int8 range. Only
+ - * / and sqrt are used, which IEEE 754 rounds correctly: the same numbers come out on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True)
class Moments:
    """Mean and mean square over all elements of a tensor, in the tensor's own (real) unit."""

    mean: float
    mean_square: float

    @property
    def rms(self) -> float:
        """Root mean square."""
        return sqrt(self.mean_square)

    @property
    def std(self) -> float:
        """Standard deviation."""
        return sqrt(self.mean_square - self.mean * self.mean)

    def plus(self, other: Moments) -> Moments:
        """Moments of the sum of two independent tensors."""
        square = self.mean_square + other.mean_square + 2.0 * self.mean * other.mean
        return Moments(self.mean + other.mean, square)

    def relu(self) -> Moments:
        """Moments of max(x, 0) for a normal x.

        Polynomials in r = mean / rms stand for the normal distribution's integrals (error below 0.4 % for
        |r| <= 0.9), because erf and exp differ between C libraries in the last bit.
        """
        r = self.mean / self.rms
        mean = self.rms * (0.399 + 0.5 * r + 0.101 * r * r * r * r * r * r)
        return Moments(mean, self.mean_square * (0.5 + 0.804 * r - 0.304 * r * r * r))

    def max_pool(self) -> Moments:
        """Moments after a 3x3 maximum of rectified values: between no change (constant image) and 5 times the mean
        square (nine independent values); the middle serves both."""
        return Moments(self.mean * 1.8, self.mean_square * 2.5)
