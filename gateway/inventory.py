"""Whether the store has what the ledger says, no more and no less. Files of no job go; which of
the missing ones are believed to be lost is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.book import JobBook
from gateway.ports import Ledger, VideoStore
from gateway.records import SPENDING_WAITS

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the folder found."""

    stored: int
    """Videos that the ledger says are here."""
    missing: Sequence[str]
    """Jobs whose video is not."""
    orphans: Sequence[str]
    """Names that no job has."""


class Inventory:
    """Compares the names in the store with the jobs of the ledger."""

    def __init__(self, ledger: Ledger, store: VideoStore, book: JobBook) -> None:
        self._ledger = ledger
        self._store = store
        self._book = book

    async def compare(self) -> Found:
        """Look at both; `StoreFailure` where the store cannot be read."""
        # In this order: what is stored meanwhile is known by the time the ledger is read.
        names = set(await self._store.ids())
        arriving = {self._store.name_of(job.id) for job in self._book.open_jobs()}
        stored = {self._store.name_of(job): job for job in await self._ledger.stored_ids()}
        missing = sorted(stored[name] for name in stored.keys() - names - arriving)
        return Found(len(stored), missing, sorted(names - stored.keys() - arriving))

    async def remove(self, orphans: Sequence[str]) -> None:
        """Remove files of no stored job: those whose removal failed or was cut off.

        Nothing goes while a restored database may only lack their jobs.
        """
        if not orphans or await self._ledger.mark(SPENDING_WAITS) is not None:
            return
        for name in orphans:
            await self._store.delete_name(name)
        _log.warning("videos.orphans_removed", count=len(orphans))

    async def sweep(self) -> None:
        """Look, and remove what belongs to nobody."""
        await self.remove((await self.compare()).orphans)
