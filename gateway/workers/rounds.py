"""Runs chores round after round; one that fails is logged and comes again."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class Chore(Protocol):
    """Something to be done again and again."""

    async def run_once(self) -> None:
        """One round."""


async def go_round(name: str, chore: Chore, seconds: float) -> None:
    """Call a chore for ever, with a pause after each round."""
    while True:
        try:
            await chore.run_once()
        except Exception:  # noqa: BLE001 - a chore must not end the loop
            _log.exception("chore.failed", chore=name)
        await asyncio.sleep(seconds)
