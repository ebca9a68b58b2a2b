"""The steps of the demo around a model of its own: prices in bulk, trackers fed from them, and their alerts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

from timber.app import Timber
from timber.cli.checks import check
from timber.cli.screen import Screen, Step
from timber.cli.stocks import Price, Return, returns_of
from timber.repository.subscriptions import Subscription
from timber.services.base import Service
from timber.services.notifications import NotificationDTO
from timber.services.tracking import TrackerDTO, TrackerEventCreate

MODELS: Final = Path(__file__).with_name("data")

_BATCH: Final = 56  # rows of one COPY, so that the bar has something to show
_FALL: Final = 0.25
_PATIENCE: Final = 10.0  # seconds that alerts may take altogether


class StockSteps:
    """The stored prices of one made-up user, and the alerts of their trackers.

    Attributes:
        alerts: how often each symbol's tracker has triggered.
    """

    def __init__(self, timber: Timber, screen: Screen, *, user: str) -> None:
        self._timber = timber
        self._screen = screen
        self._user = user
        self._prices: Mapping[str, Sequence[Price]] = {}
        self._trackers: dict[str, TrackerDTO] = {}
        self._sent: dict[UUID, float] = {}  # when the COMMIT of each alert began
        self.alerts: dict[str, int] = {}

    @property
    def _stocks(self) -> Service[Any]:
        return self._timber.service("StockPrice")

    async def run(self, prices: Mapping[str, Sequence[Price]]) -> None:
        """Every step."""
        self._prices = prices
        await self._load()
        await self._query()
        await self._track()
        await self._follow()

    async def _load(self) -> None:
        rows = [
            {
                "user_id": self._user,
                "symbol": price.symbol,
                "day": price.month,
                "close": Decimal(str(price.price)),
            }
            for prices in self._prices.values()
            for price in prices
        ]
        with self._screen.load("A YAML model, in bulk", len(rows), "prices") as step:
            async with self._timber.unit_of_work():
                for start in range(0, len(rows), _BATCH):
                    step.advance(len(await self._stocks.create_many(rows[start : start + _BATCH])))
            check(await self._stocks.count(user_id=self._user), len(rows), "prices stored")
            step.found = "StockPrice by COPY, one transaction"

    async def _query(self) -> None:
        stocks = self._stocks
        with self._screen.step("Query the model") as step:
            numbers = await stocks.repository.count_by("symbol", user_id=self._user)
            in_file = {symbol: len(prices) for symbol, prices in self._prices.items()}
            check(dict(numbers), in_file, "prices of each symbol")
            crash = stocks.repository.where.day.between(date(2008, 1, 1), date(2008, 12, 31))
            check(await stocks.count(crash, user_id=self._user), 60, "prices of 2008")
            highest = await stocks.list(user_id=self._user, order_by="-close", limit=1)
            every = (price for prices in self._prices.values() for price in prices)
            expected = max(every, key=lambda price: price.price)
            [top] = highest
            check((top.symbol, top.day), (expected.symbol, expected.month), "the highest price")
            step.found = f"highest: {top.symbol} {top.close:,} in {top.day:%b %Y}"

    async def _track(self) -> None:
        tracking = self._timber.tracking
        with self._screen.step("A tracker per symbol") as step:
            async with self._timber.unit_of_work():
                for symbol in self._prices:
                    self._trackers[symbol] = await tracking.create_tracker(
                        self._user, "monthly_fall", symbol=symbol, conditions={"fall": _FALL}
                    )
            found = await tracking.get_user_trackers(self._user, status="active")
            check({item.symbol for item in found.items}, set(self._prices), "active trackers")
            step.found = f"{len(self._trackers)}, for months that lose over {_FALL:.0%}"

    async def _follow(self) -> None:
        """What the trackers see is written by this task; what is sent of it is printed by another one."""
        subscription = self._timber.notifications.subscribe(self._user)
        async with AsyncExitStack() as stack:
            with self._screen.step("Subscribe to the alerts") as step:
                await stack.enter_async_context(subscription)
                step.found = "printed as they arrive, by a task"
            with self._screen.step("Real months for the trackers") as step:
                number = sum(map(len, map(_falls, self._prices.values())))
                reader = asyncio.create_task(self._print(subscription, step, number))
                try:
                    events = sum([await self._log_months(symbol) for symbol in self._prices])
                    delays = await reader
                finally:
                    reader.cancel()
                    await asyncio.wait([reader])
                check(len(self._sent), number, "alerts sent")
                check(len(delays), number, "alerts that arrived")
                check(set(delays), set(self._sent), "the keys of the alerts")
                await self._compare()
                step.found = f"{events} events by COPY, {number} alerts"
                step.note(
                    f"Each alert came once, {1000 * median(delays.values()):.1f} ms after its COMMIT "
                    "had begun (median)."
                )

    async def _print(
        self, subscription: Subscription[NotificationDTO], step: Step, number: int
    ) -> dict[UUID, float]:
        """Print that many alerts; the seconds each has taken."""
        delays: dict[UUID, float] = {}
        try:
            async with asyncio.timeout(_PATIENCE):
                async for alert in subscription:
                    check(alert.id in delays, False, "an alert that came before")  # noqa: FBT003
                    delays[alert.id] = time.perf_counter() - self._sent[alert.id]
                    step.say(f"{alert.title}. {alert.content}")
                    if len(delays) == number:
                        break
        except TimeoutError:
            pass  # those that are missing are what the step fails by
        return delays

    async def _log_months(self, symbol: str) -> int:
        """Let a tracker see the stored prices of its symbol; the alerts are sent in the same transaction."""
        timber = self._timber
        tracker = self._trackers[symbol]
        stored = await self._stocks.list(
            user_id=self._user, symbol=symbol, order_by="day", limit=1000
        )
        prices = [Price(row.symbol, row.day, float(row.close)) for row in stored]
        check(prices, self._prices[symbol], f"stored prices of {symbol}")
        months = returns_of(prices)
        async with timber.unit_of_work():
            logged = await timber.tracking.log_events(_event(tracker, month) for month in months)
            alerts = [
                await timber.notifications.notify(
                    self._user,
                    "tracker_alert",
                    {"symbol": symbol, "reason": f"{fall.gain:.1%} in {fall.month:%B %Y}"},
                )
                for fall in months
                if _is_fall(tracker, fall)
            ]
            began = time.perf_counter()
            self._sent.update((alert.id, began) for alert in alerts)
        return logged

    async def _compare(self) -> None:
        """What the trackers hold now, against the file."""
        tracking = self._timber.tracking
        for symbol, tracker in self._trackers.items():
            expected = len(_falls(self._prices[symbol]))
            by_type = await tracking.count_events(tracker.id, by="type", owner=self._user)
            counts = {bucket.key: bucket.count for bucket in by_type}
            self.alerts[symbol] = counts.get("trigger", 0)
            check(self.alerts[symbol], expected, f"falls of {symbol}")
            months = len(self._prices[symbol]) - 1
            check(sum(counts.values()), months, f"events of {symbol}")
            now = await tracking.get_tracker(tracker.id, owner=self._user)
            status = "triggered" if expected else "active"
            check(now and now.status, status, f"the tracker of {symbol}")
        unread = await self._timber.notifications.unread_count(self._user)
        check(unread, len(self._sent), "alerts stored")

    async def clean_up(self) -> None:
        """Take this run's rows away; events go with their tracker."""
        repositories = (
            self._timber.notifications.repository,
            self._timber.tracking.trackers,
            self._stocks.repository,
        )
        for repository in repositories:
            await repository.delete_where(user_id=self._user, hard=True)
            left = await repository.count(user_id=self._user)
            check(left, 0, f"{repository.config.name} rows after cleaning up")


def _event(tracker: TrackerDTO, month: Return) -> TrackerEventCreate:
    fell = _is_fall(tracker, month)
    return TrackerEventCreate(
        tracker_id=tracker.id,
        event_type="trigger" if fell else "check",
        event_data={"day": month.month.isoformat(), "close": month.price, "gain": month.gain},
        triggered=fell,
    )


def _is_fall(tracker: TrackerDTO, month: Return) -> bool:
    return month.gain < -float(tracker.conditions["fall"])


def _falls(prices: Sequence[Price]) -> list[Return]:
    return [month for month in returns_of(prices) if month.gain < -_FALL]
