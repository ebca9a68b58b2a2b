"""What the cache counts, for each level and model."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counts:
    """The counts of one level for one model."""

    hits: int = 0
    misses: int = 0
    fills: int = 0
    fills_refused: int = 0
    """Values that came too late to be stored: something had changed since their lease."""
    stale_prevented: int = 0
    """Copies that were there, or just loaded, and were known not to be current."""
    corrupted: int = 0
    """Payloads that were truncated, damaged or written for another schema."""
    invalidations: int = 0
    bytes: int = 0
    """Of L1 what the values there now take; of L2 what this process has stored."""


class Stats:
    """The counts of both levels."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[str, Counts]] = {"l1": {}, "l2": {}}
        self.direct = 0
        """Reads that went to the database past every level: their key was unconfirmed, or Redis could not be reached."""
        self.joined = 0
        """Reads that were served by the load of another task."""
        self.clears_failed = 0
        self.replayed = 0

    def of(self, level: str, model: str) -> Counts:
        """The counts of a model at ``l1`` or ``l2``."""
        counts = self.levels[level].get(model)
        if counts is None:
            counts = self.levels[level][model] = Counts()
        return counts

    def invalidated(self, level: str, name: str) -> None:
        """Count a clear of a row, a question, a tag or a whole model."""
        model = name.partition(":")[0].partition("?")[0]
        counts = self.levels[level].get(model)
        if counts is not None:
            counts.invalidations += 1

    def as_dict(self) -> dict[str, object]:
        """Everything as plain values."""
        levels: dict[str, object] = {
            level: {model: asdict(counts) for model, counts in models.items()}
            for level, models in self.levels.items()
        }
        return {
            **levels,
            "direct": self.direct,
            "joined": self.joined,
            "clears_failed": self.clears_failed,
            "replayed": self.replayed,
        }
