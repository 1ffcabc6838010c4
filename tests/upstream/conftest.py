"""What the tests of the upstream floor share: the event loop, and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import respx

from gateway.core.pacing import GateLimits
from tests.upstream.house import House
from tests.upstream.scene import Scene
from tests.upstream.still_clock import StillClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def house(clock: StillClock) -> House:
    return House(clock)


@pytest.fixture
async def scene(clock: StillClock) -> AsyncIterator[Scene]:
    with respx.mock(assert_all_called=False) as network:
        scene = Scene(clock, network, GateLimits())
        yield scene
        await scene.client.close()
