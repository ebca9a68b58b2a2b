from __future__ import annotations

from collections.abc import Generator

import pytest

from timber import ResearchService, SessionService, Timber


@pytest.fixture
def sessions(timber: Timber) -> SessionService:
    return timber.sessions


@pytest.fixture
def research(timber: Timber) -> ResearchService:
    return timber.research


@pytest.fixture
def sent(timber: Timber) -> Generator[list[str]]:
    """The statements that the test sends, as `verb Model`."""
    labels: list[str] = []

    def listen(label: str, _sql: str, _seconds: float) -> None:
        labels.append(label)

    timber.db.monitor.listeners.append(listen)
    yield labels
    timber.db.monitor.listeners.remove(listen)
