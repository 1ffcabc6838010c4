"""Which videos make room when the store is over its bounds, and what those bounds are.

The rules are the policy's `videos` section; sizes are bytes, times Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

AUTO_BYTES_MAX = 50 * 2**30


@dataclass(frozen=True, slots=True)
class Held:
    """A stored video, as far as it matters to who goes first."""

    job_id: str
    bytes: int
    used_at: int
    """When it was last stored, delivered or read."""
    is_owed: bool
    """Nobody has had it since it came, and nobody has done away with it: one that was called back
    is on its way to whoever asked."""
    can_return: bool
    """Venice still has it, by an id that may be asked again."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Bytes that must go: for the quota whatever they are, for the disk only what somebody has."""

    over_quota: int
    over_disk: int


def auto_quota(free_bytes: int, stored_bytes: int) -> int:
    """What `max_bytes: auto` means: half of what would be free without our videos, within 50 GiB.

    Half of what is free beside them would shrink with each video stored.
    """
    return min(AUTO_BYTES_MAX, (free_bytes + stored_bytes) // 2)


def excess(
    *, quota: int, free_wanted: int, stored_bytes: int, coming_bytes: int, free_bytes: int
) -> Excess:
    """How much is too much once what is coming is here."""
    return Excess(
        max(0, stored_bytes + coming_bytes - quota),
        max(0, free_wanted + coming_bytes - free_bytes),
    )


def rank(video: Held) -> tuple[bool, bool, int]:
    """Who goes first: what somebody has, then what can come back, then the least recently used."""
    return (video.is_owed, not video.can_return, video.used_at)


def choose(videos: Iterable[Held], too_much: Excess) -> list[Held]:
    """The videos to let go of, in this order; as few as bring the store within its bounds.

    What nobody has yet goes for the quota alone: others filling the disk is no reason to lose it.
    """
    chosen: list[Held] = []
    gone = 0
    for video in sorted(videos, key=rank):
        wanted = too_much.over_quota
        if not video.is_owed:
            wanted = max(wanted, too_much.over_disk)
        if gone < wanted:
            chosen.append(video)
            gone += video.bytes
    return chosen
