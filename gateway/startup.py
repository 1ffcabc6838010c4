"""What is checked before a gateway serves: that the ledger adds up, and that files and jobs agree.

A difference stops spending, not reading. A fault of the files never ends a start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from gateway.inventory import Inventory
from gateway.moments import rfc3339
from gateway.ports import Clock, Ledger, StoreFailure
from gateway.records import RUNNING, Job
from gateway.spending import Spending

ENTRIES_ALWAYS_VERIFIED_MAX = 400_000
"""Two are made by a job; so many are re-derived in ten seconds. Above, only after no clean stop."""
MISSING_BELIEVED_MAX = 20
"""When more videos than this, and more than half, are gone, it is their volume that is missing."""

_log = structlog.get_logger(__name__)


class StartupChecks:
    """The checks of one start, and the mark that tells the next one how this run ended.

    `mend` is for a stored job whose file is missing.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        inventory: Inventory,
        spending: Spending,
        clock: Clock,
        mend: Callable[[Job], Awaitable[object]],
    ) -> None:
        self._ledger = ledger
        self._inventory = inventory
        self._spending = spending
        self._clock = clock
        self._mend = mend

    async def run(self) -> None:
        """Check all; what is found is logged, mended, or stops spending."""
        began = self._clock.monotonic()
        await self._spending.recall()
        await self._check_ledger()
        try:
            await self._check_videos()
        except StoreFailure as error:
            _log.critical("start.videos_unchecked", why=str(error))
            self._spending.stop(f"the video store cannot be read ({error})")
        await self._ledger.set_mark(RUNNING, rfc3339(self._clock.now()))
        _log.info("start.checked", seconds=round(self._clock.monotonic() - began, 3))

    async def end(self) -> None:
        """Say that the stop was a clean one."""
        await self._ledger.set_mark(RUNNING, None)

    async def _check_ledger(self) -> None:
        was_clean = await self._ledger.mark(RUNNING) is None
        if was_clean and await self._ledger.entry_count() > ENTRIES_ALWAYS_VERIFIED_MAX:
            return
        found = await self._ledger.verify()
        if not found.is_sound:
            await self._spending.distrust(found)

    async def _check_videos(self) -> None:
        found = await self._inventory.compare()
        missing = found.missing
        if len(missing) > max(MISSING_BELIEVED_MAX, found.stored // 2):
            _log.critical("videos.volume_missing", missing=len(missing), stored=found.stored)
            self._spending.stop(
                f"{len(missing)} of {found.stored} stored videos are not in the store: is its "
                "volume mounted? Then start the gateway again"
            )
            return
        for job_id in missing:
            job = await self._ledger.job(job_id)
            assert job is not None, "the ledger has just named it"
            await self._mend(job)
        await self._inventory.remove(found.orphans)
