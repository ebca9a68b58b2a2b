"""The steps of the demo, in their order. Each one that finds something else than it should ends the demo."""

from __future__ import annotations

from itertools import groupby
from uuid import UUID, uuid4

from sqlalchemy import select, text

from timber.app import Timber
from timber.cli.checks import CheckFailedError, check
from timber.cli.demo_stocks import StockSteps
from timber.cli.screen import Screen
from timber.cli.stocks import (
    Price,
    read_prices,
    returns_of,
    volatilities_of,
    volatility,
    yearly_growth,
)
from timber.errors import StaleDataError
from timber.services.research import ResearchCreate, ResearchDTO
from timber.services.sessions import SessionDTO

_PAGE = 100
_INDEX = "ix_research_data_user_id_created_at"


class _FeedBrokenError(Exception):
    """What goes wrong half-way in the transaction that is to fail."""


class Demo:
    """One run: the rows of one made-up user, taken away again at the end."""

    def __init__(self, timber: Timber, screen: Screen, *, user: str) -> None:
        self._timber = timber
        self._screen = screen
        self._user = user
        self._prices: dict[str, list[Price]] = {}
        self._sessions: dict[str, SessionDTO] = {}
        self._saved = 0
        self._stocks = StockSteps(timber, screen, user=user)

    async def run(self) -> None:
        """Every step, and the table of what is stored."""
        self._read()
        await self._open_sessions()
        await self._save_results()
        await self._commit_together()
        await self._fail_together()
        await self._update_stale()
        await self._turn_pages()
        await self._explain()
        await self._stocks.run(self._prices)
        await self._show()

    def _read(self) -> None:
        with self._screen.step("Read the prices") as step:
            self._prices = read_prices()
            months = sum(map(len, self._prices.values()))
            check(months, 560, "prices in stocks.csv")
            step.found = f"{months} months, {len(self._prices)} symbols"

    async def _open_sessions(self) -> None:
        timber = self._timber
        with self._screen.step("One session per symbol") as step:
            async with timber.unit_of_work():
                for symbol in self._prices:
                    self._sessions[symbol] = await timber.sessions.create_session(
                        self._user, "research", {"symbol": symbol, "source": "stocks.csv"}
                    )
            for symbol, session in self._sessions.items():
                found = await timber.sessions.get_user_sessions(self._user, symbol=symbol)
                check(found, [session], f"sessions for {symbol}")
            step.found = f"{len(self._sessions)} in one transaction"

    async def _save_results(self) -> None:
        research = self._timber.research
        with self._screen.step("Returns and volatility in bulk") as step:
            items = [item for symbol in self._prices for item in self._results(symbol)]
            ids = await research.save_many(items)
            self._saved = len(items)
            check(await research.count(user_id=self._user), len(items), "rows stored")
            first = await research.get_research(ids[0], owner=self._user)
            check(first and first.content, items[0].content, "the first row")
            step.found = f"{len(items):,} rows in one COPY"

    def _results(self, symbol: str) -> list[ResearchCreate]:
        session_id = self._sessions[symbol].id
        returns = returns_of(self._prices[symbol])
        monthly = [
            ResearchCreate(
                session_id=session_id,
                research_type="monthly_return",
                title=f"{symbol} {item.month:%B %Y}",
                content={"month": item.month.isoformat(), "price": item.price, "gain": item.gain},
                metadata={"symbol": symbol},
            )
            for item in returns
        ]
        yearly = [
            ResearchCreate(
                session_id=session_id,
                research_type="volatility",
                title=f"{symbol} {item.year}",
                content={"year": item.year, "months": item.months, "volatility": item.value},
                metadata={"symbol": symbol},
            )
            for item in volatilities_of(returns)
        ]
        return monthly + yearly

    async def _commit_together(self) -> None:
        timber = self._timber
        told: list[UUID] = []
        with self._screen.step("Two services, one transaction") as step:
            uow = timber.unit_of_work()
            async with uow:
                session = await timber.sessions.create_session(
                    self._user, "portfolio", {"holds": list(self._prices)}
                )
                note = await timber.research.save_research(
                    session.id, {"question": "Which two to keep?"}, "note", title="To decide"
                )
                uow.on_commit(lambda: told.append(note.id))
            check(uow.outcome, "committed", "its outcome")
            check(told, [note.id], "calls after the commit")
            check(await timber.sessions.get_session(session.id), session, "the session")
            check(await timber.research.get_session_research(session.id), [note], "its research")
            self._saved += 1
            step.found = "committed, then on_commit ran"

    async def _fail_together(self) -> None:
        timber = self._timber
        with self._screen.step("One that fails half-way") as step:
            before = await self._counts()
            uow = timber.unit_of_work()
            key = uuid4()
            try:
                async with uow:
                    session = await timber.sessions.create_session(self._user, "trading", id=key)
                    await timber.research.save_research(session.id, {"price": 1.0}, "quote")
                    raise _FeedBrokenError  # noqa: TRY301  # it is to leave the unit of work
            except _FeedBrokenError:
                pass
            check(uow.outcome, "rolled_back", "its outcome")
            check(await timber.sessions.get_session(key), None, "the session")
            check(await self._counts(), before, "rows before and after")
            step.found = "rolled back, nothing is left"

    async def _counts(self) -> tuple[int, int]:
        return (
            await self._timber.sessions.count_user_sessions(self._user),
            await self._timber.research.count(user_id=self._user),
        )

    async def _update_stale(self) -> None:
        sessions = self._timber.sessions
        with self._screen.step("A stale update") as step:
            seen = next(iter(self._sessions.values()))
            await sessions.update_session(
                seen.id, metadata={"rating": "buy"}, expected_version=seen.version
            )
            try:
                await sessions.update_session(
                    seen.id, metadata={"rating": "sell"}, expected_version=seen.version
                )
            except StaleDataError as error:
                step.found = "the second writer is told"
                step.note(f"StaleDataError: {error.message}", style="yellow")
            else:
                raise CheckFailedError("The second update from the same version went through.")
            now = await sessions.get_session(seen.id)
            check(now and now.metadata.get("rating"), "buy", "the rating that is stored")

    async def _turn_pages(self) -> None:
        research = self._timber.research
        with self._screen.step("Pages by keyset") as step:
            items: list[ResearchDTO] = []
            pages = 0
            cursor: str | None = None
            while pages == 0 or cursor is not None:
                page = await research.get_user_research(
                    self._user, "monthly_return", cursor=cursor, limit=_PAGE
                )
                items += page.items
                cursor = page.next_cursor
                pages += 1
            returns = sum(len(prices) - 1 for prices in self._prices.values())
            check(len(items), returns, "rows on all pages")
            check(len({item.id for item in items}), returns, "different rows on all pages")
            step.found = f"{returns} rows on {pages} pages, each once"

    async def _explain(self) -> None:
        timber = self._timber
        with self._screen.step("Explain the query plan") as step:
            async with timber.unit_of_work() as uow:
                # A table that was filled a moment ago has no statistics yet.
                await uow.session.execute(text("ANALYZE research_data"))
            rows = timber.registry.table("ResearchData").c
            newest = (
                select(rows.id)
                .where(rows.user_id == self._user, rows.deleted_at.is_(None))
                .order_by(rows.created_at.desc())
                .limit(20)
            )
            plan = await timber.db.explain(newest)
            check(plan.indexes, [_INDEX], "the indexes of the plan")
            step.found = "a user's newest 20 by an index"
            for line in str(plan).splitlines():
                step.note(line)

    async def _show(self) -> None:
        research = self._timber.research
        rows: list[list[str]] = []
        with self._screen.step("Read it all back") as step:
            where = research.repository.where
            wanted = where.research_type == "monthly_return"
            async with research.stream(wanted, user_id=self._user, batch=200) as stream:
                stored = [item async for item in stream]
            stored.sort(key=lambda item: (item.metadata["symbol"], item.content["month"]))
            for symbol, group in groupby(stored, lambda item: str(item.metadata["symbol"])):
                gains = [float(item.content["gain"]) for item in group]
                expected = [item.gain for item in returns_of(self._prices[symbol])]
                check(gains, expected, f"returns of {symbol}")
                prices = self._prices[symbol]
                rows.append(
                    [
                        symbol,
                        f"{len(gains)}",
                        f"{prices[0].price:,.2f}",
                        f"{prices[-1].price:,.2f}",
                        f"{yearly_growth(gains):+.1%}",
                        f"{volatility(gains):.1%}",
                        f"{max(gains):+.1%}",
                        f"{min(gains):+.1%}",
                        f"{self._stocks.alerts[symbol]}",
                    ]
                )
            check(len(rows), len(self._prices), "symbols read back")
            step.found = f"{len(stored)} rows streamed, as in the file"
        headings = (
            "Months",
            "First $",
            "Last $",
            "Per year",
            "Volatility",
            "Best",
            "Worst",
            "Alerts",
        )
        self._screen.table(
            "Monthly returns, as PostgreSQL holds them",
            {"Symbol": "left", **dict.fromkeys(headings, "right")},
            rows,
        )

    async def clean_up(self) -> None:
        """Take this run's rows away; research goes with its session."""
        await self._timber.sessions.repository.delete_where(user_id=self._user, hard=True)
        await self._stocks.clean_up()
        check(await self._counts(), (0, 0), "rows after cleaning up")
