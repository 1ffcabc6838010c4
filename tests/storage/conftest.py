"""The ledgers there are: each test of the port's suite runs on every one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.ports import Ledger
from gateway.storage.ledger_sqlite import SqliteLedger

OpenLedger = Callable[[], Awaitable[Ledger]]
"""Opens the one ledger of a test, as often as it was closed before."""
NOON = 1_790_000_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite"])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLedger:
    """A ledger that tests may close and open again; a new backend is a new parameter."""
    assert request.param == "sqlite"

    async def open_again() -> Ledger:
        path = tmp_path / "gateway.db"
        return await SqliteLedger.open(path, upstream="a stand-in", now=NOON)

    return open_again
