"""Orders are taken only where there is known to be room for what they bring."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.core.errors import StorageFull
from gateway.metrics import Metrics
from gateway.ports import Ledger, StoreFailure
from gateway.spending import ROOM_CHECKED_EVERY, Spending
from tests.upstream.still_clock import StillClock


async def test_a_disk_that_cannot_be_asked_has_no_room_until_it_can() -> None:
    clock, faults = StillClock(), [StoreFailure("stale handle")]

    def has_room() -> bool:
        if faults:
            raise faults.pop()
        return True

    spending = Spending(clock, Metrics(), cast(Ledger, None), has_room)
    with pytest.raises(StorageFull):
        spending.admit()
    await clock.advance(ROOM_CHECKED_EVERY)
    spending.admit()
