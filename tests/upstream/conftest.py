"""What the tests of the upstream floor share: the event loop, and a clock that stands still."""

from __future__ import annotations

import pytest

from tests.upstream.still_clock import StillClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> StillClock:
    return StillClock()
