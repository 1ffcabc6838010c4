"""Whether money may be spent at all: off while the ledger is in question or there is no room.

A tripped assertion of the ledger's stops spending and keeps the evidence; reading goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from gateway.core.errors import Draining, SpendingStopped, StorageFull
from gateway.metrics import Metrics
from gateway.ports import Clock, Ledger, LedgerBroken, LedgerFailure, LedgerFull, StoreFailure
from gateway.records import RESTORED, SPENDING_WAITS, Verification

T = TypeVar("T")
ROOM_CHECKED_EVERY = 1.0
"""Seconds between two looks at the free space; recovery is promised within ten."""
PROBLEMS_TOLD_MAX = 3
"""A reason stays a sentence; the log has every problem."""

_log = structlog.get_logger(__name__)


class Spending:
    """The switch in front of every new order."""

    def __init__(
        self, clock: Clock, metrics: Metrics, ledger: Ledger, has_room: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._ledger = ledger
        self._keeping: set[asyncio.Task[None]] = set()
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
            try:
                self._room = self._has_room()
            except StoreFailure as error:
                _log.error("room.unknown", why=str(error))
                self._room = False
        return self._room

    def stop(self, why: str) -> None:
        """Take no new orders in this process; see `halt` for what outlives it."""
        if self.stopped is None:
            _log.critical("spending.stopped", why=why)
        self.stopped = why
        self._metrics.spending_stopped.set(1)

    async def halt(self, why: str) -> None:
        """Take no new orders until an administrator says so, restarts included."""
        self.stop(why)
        try:
            await self._ledger.set_mark(SPENDING_WAITS, why)
        except LedgerFailure as error:
            _log.error("spending.not_kept", why=why, error=str(error))

    def trip(self, why: str) -> None:
        """Halt from where nothing can be awaited: one of the ledger's assertions has failed."""
        if self.stopped is not None:
            return
        why = f"the ledger's own check failed ({why})"
        self.stop(why)
        keeping = asyncio.get_running_loop().create_task(self.halt(why))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    async def distrust(self, found: Verification) -> None:
        """Halt because the ledger does not add up; the log keeps all that was found."""
        _log.critical("ledger.differs", drift_usd=str(found.drift), problems=list(found.problems))
        first = "; ".join(found.problems[:PROBLEMS_TOLD_MAX])
        await self.halt(f"the ledger does not add up, by {found.drift} USD ({first})")

    async def resume(self) -> None:
        """Take orders again."""
        await self._ledger.set_mark(SPENDING_WAITS, None)
        self.stopped = None
        self._metrics.spending_stopped.set(0)
        _log.warning("spending.resumed")

    async def recall(self) -> None:
        """Wait where the ledger's mark says so; once, at a start."""
        mark = await self._ledger.mark(SPENDING_WAITS)
        if mark is not None:
            self.stop(_told(mark))

    async def guard(self, writing: Awaitable[T]) -> T:
        """Await a write to the ledger; a full disk and a broken ledger are said so."""
        try:
            return await writing
        except LedgerFull as error:
            raise StorageFull from error
        except LedgerBroken as error:
            self.stop(f"the ledger's own check failed ({error})")
            raise SpendingStopped(
                "The gateway's ledger found a mistake in itself, so this was not written and no "
                "new order is taken. Tell an administrator."
            ) from error
        except LedgerFailure as error:
            _log.error("ledger.unwritten", why=str(error))
            raise SpendingStopped(
                "The gateway's ledger cannot be written at the moment, and without it nothing is "
                "bought or changed. Try again in a minute, and tell an administrator if that does "
                "not help."
            ) from error


def _told(mark: str) -> str:
    """What a mark means, and what is to be done."""
    if not mark.startswith(RESTORED):
        return mark
    return (
        f"the database was {mark} from a backup and lacks what was bought after that was made. "
        "An administrator compares it with Venice's bill by `venice-gateway reconcile`, which lets "
        "orders in again if nothing is missing; else `venice-gateway spending resume --why TEXT` "
        "does"
    )
