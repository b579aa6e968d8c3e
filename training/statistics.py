"""How sure an average is: a 95 % interval that holds for skewed scores, and a test of paired differences.

The interval is the BCa bootstrap (Efron 1987), its quantiles moved outwards as Student's t would (Hesterberg 2015):
the plain percentile interval is too narrow for a hundred skewed scores. Shares of yes and no get Wilson's interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

RESAMPLES = 4000
FLIPS = 20_000
EXACT = 14
"""Up to so many pairs every assignment of signs is tried."""
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; None where there are too few numbers to say."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean difference of pairs, and the two-sided p of a sign-flip test of "no difference"."""

    difference: Interval
    p: float

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {"difference": self.difference.as_json(), "p": self.p}


def interval(
    values: Sequence[float], seed: int = 123, resamples: int = RESAMPLES, shares: bool = True
) -> Interval:
    """The mean of independent values and its 95 % interval; values that are all 0 or 1 are a share (unless told not).

    Raises ValueError for numbers that are not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    if not np.isfinite(x).all():
        raise ValueError("numbers must be finite")
    n = len(x)
    if n == 0:
        return Interval(None, None, None, 0)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, None, None, 1)
    if shares and bool(np.isin(x, (0.0, 1.0)).all()):
        return Interval(mean, *_wilson(mean, n), n)
    if float(np.ptp(x)) == 0.0:
        return Interval(mean, mean, mean, n)
    low, high = _bca(x, np.random.default_rng(seed), resamples)
    return Interval(mean, low, high, n)


def _wilson(share: float, n: int) -> tuple[float, float]:
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    return (max(0.0, middle - half) if share > 0 else 0.0), (min(1.0, middle + half) if share < 1 else 1.0)


def _bca(x: np.ndarray[Any, Any], generator: np.random.Generator, resamples: int) -> tuple[float, float]:
    n = len(x)
    means = np.concatenate(
        [
            x[generator.integers(0, n, (part, n))].mean(axis=1)
            for part in _parts(resamples, max(1, 2_000_000 // n))
        ]
    )
    mean = x.mean()
    below = (np.count_nonzero(means < mean) + 0.5 * np.count_nonzero(means == mean)) / resamples
    bias = _NORMAL.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    left_out = (x.sum() - x) / (n - 1)
    deviation = left_out.mean() - left_out
    acceleration = float((deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5))
    wide = math.sqrt(n / (n - 1)) * _student(n - 1)
    shares = []
    for z in (-wide, wide):
        moved = bias + (bias + z) / (1 - acceleration * (bias + z))
        shares.append(min(max(_NORMAL.cdf(moved), 0.0), 1.0))
    low, high = np.quantile(means, shares)
    return float(low), float(high)


def _parts(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t (series of Fisher and Cornish; good to three digits from 4 on)."""
    z, v = _Z, freedom
    series = (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return z + series + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)


def paired(first: Sequence[float], second: Sequence[float], seed: int = 123) -> Paired:
    """first - second, pair by pair. Raises ValueError if the lengths differ or a number is not finite."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} numbers are not pairs")
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    found = interval(difference.tolist(), seed, shares=False)
    return Paired(found, _sign_flip(difference, np.random.default_rng(seed)))


def _sign_flip(difference: np.ndarray[Any, Any], generator: np.random.Generator) -> float:
    moved = difference[difference != 0]
    n = len(moved)
    if n == 0:
        return 1.0
    seen = abs(moved.sum()) * (1 - 1e-12)
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ moved) >= seen).mean())
    hits = 0
    for part in _parts(FLIPS, max(1, 2_000_000 // n)):
        drawn = generator.integers(0, 2, (part, n), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.count_nonzero(np.abs(drawn @ moved) >= seen))
    return (hits + 1) / (FLIPS + 1)
