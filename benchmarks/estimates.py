"""Medians of paired rounds and how sure they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its interval."""

    median: float
    low: float
    high: float


def estimate(samples: list[float]) -> Estimate:
    """The median of ``samples`` with a 95 % interval.

    The interval is that of the sign test: the two order statistics between which the true median lies
    with a probability of at least 0.95, whatever the distribution. It needs neither resampling nor a
    random seed, so the same samples always give the same interval. Fewer than six samples cannot give
    95 %; their smallest and largest stand in.
    """
    ordered = sorted(samples)
    skipped = _ranks_outside(len(ordered))
    return Estimate(median(ordered), ordered[skipped], ordered[-1 - skipped])


def paired_ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """One ratio a round: what disturbs a round disturbs both its sides."""
    return [over / under for over, under in zip(numerators, denominators, strict=True)]


def _ranks_outside(count: int, confidence: float = 0.95) -> int:
    """How many samples are left out at either end: the most with P(X <= that) within 2.5 %, X ~ Bin(count, 1/2)."""
    below = 0.0
    for rank in range(count):
        below += math.comb(count, rank) / 2**count
        if 2 * below > 1 - confidence:
            return max(rank - 1, 0)
    return 0
