"""Whether money may be spent at all: off while the ledger is in question or there is no room.

A tripped assertion of the ledger's stops spending and keeps the evidence; reading goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from gateway.core.errors import Draining, SpendingStopped, StorageFull
from gateway.metrics import Metrics
from gateway.ports import Clock, LedgerBroken, LedgerFailure, LedgerFull

T = TypeVar("T")
ROOM_CHECKED_EVERY = 1.0
"""Seconds between two looks at the free space; recovery is promised within ten."""

_log = structlog.get_logger(__name__)


class Spending:
    """The switch in front of every new order."""

    def __init__(self, clock: Clock, metrics: Metrics, has_room: Callable[[], bool]) -> None:
        self._clock = clock
        self._metrics = metrics
        self._has_room = has_room
        self._room = True
        self._room_checked_at = float("-inf")
        self.stopped: str | None = None
        """Why nothing may be spent; None while it may."""
        self.is_draining = False

    def admit(self) -> None:
        """Return if a new order may be taken; else raise what its client is told."""
        if self.is_draining:
            raise Draining
        if self.stopped is not None:
            raise SpendingStopped(
                f"The gateway takes no new orders: {self.stopped}. Nothing was bought; running "
                "jobs and stored videos are unaffected. Tell an administrator."
            )
        if not self._has_room_now():
            raise StorageFull

    def _has_room_now(self) -> bool:
        now = self._clock.monotonic()
        if now - self._room_checked_at >= ROOM_CHECKED_EVERY:
            self._room_checked_at = now
            self._room = self._has_room()
        return self._room

    def stop(self, why: str) -> None:
        """Take no new orders until an administrator has looked."""
        if self.stopped is None:
            _log.critical("spending.stopped", why=why)
        self.stopped = why
        self._metrics.spending_stopped.set(1)

    async def guard(self, writing: Awaitable[T]) -> T:
        """Await a write to the ledger; a full disk and a broken ledger are said so."""
        try:
            return await writing
        except LedgerFull as error:
            raise StorageFull from error
        except LedgerBroken as error:
            self.stop(f"the ledger's own check failed ({error})")
            raise SpendingStopped(f"The ledger refused to go on: {error}") from error
        except LedgerFailure as error:
            raise SpendingStopped(f"The ledger could not be written: {error}") from error
