"""Ten years of monthly stock prices, and what is computed from them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files
from itertools import groupby, pairwise
from statistics import fmean, stdev


@dataclass(frozen=True, slots=True)
class Price:
    """A closing price in US dollars."""

    symbol: str
    month: date
    price: float


@dataclass(frozen=True, slots=True)
class Return:
    """What a share gained in a month: 0.02 for two percent."""

    month: date
    price: float
    gain: float


@dataclass(frozen=True, slots=True)
class Volatility:
    """How much the monthly returns of a year scatter, scaled to a year."""

    year: int
    months: int
    value: float


def read_prices() -> dict[str, list[Price]]:
    """The prices of each symbol in the order of time, from the file in the package (its source stands beside it)."""
    text = files("timber.cli").joinpath("data", "stocks.csv").read_text(encoding="utf-8")
    prices = [
        Price(row["symbol"], _month(row["date"]), float(row["price"]))
        for row in csv.DictReader(text.splitlines())
    ]
    prices.sort(key=lambda price: (price.symbol, price.month))
    return {symbol: list(group) for symbol, group in groupby(prices, lambda price: price.symbol)}


def _month(text: str) -> date:
    return datetime.strptime(text, "%b %d %Y").date()  # noqa: DTZ007  # a day of trading has no time zone


def returns_of(prices: Sequence[Price]) -> list[Return]:
    """The return of each month but the first."""
    return [
        Return(after.month, after.price, after.price / before.price - 1)
        for before, after in pairwise(prices)
    ]


def volatilities_of(returns: Sequence[Return]) -> Iterator[Volatility]:
    """The volatility of each year with at least three months."""
    for year, group in groupby(returns, lambda item: item.month.year):
        gains = [item.gain for item in group]
        if len(gains) >= 3:
            yield Volatility(year, len(gains), volatility(gains))


def volatility(gains: Sequence[float]) -> float:
    """The standard deviation of monthly returns, scaled to a year."""
    return stdev(gains) * math.sqrt(12)


def yearly_growth(gains: Sequence[float]) -> float:
    """The mean return of a year: what these monthly ones come to, compounded."""
    return math.exp(12 * fmean(math.log1p(gain) for gain in gains)) - 1
