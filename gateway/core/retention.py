"""How long a video is kept, and when a completed one goes.

The rules are the policy's `videos` section; times are Unix milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a stored video that bears on keeping it."""

    stored_at: int
    delivered_at: int | None
    completed_at: int | None
    delete_wanted: bool
    """A client asked with `delete_media_on_completion` that delivery complete the job."""


@dataclass(frozen=True, slots=True)
class KeepRules:
    """The policy's words, in milliseconds."""

    keep: int
    keep_undelivered: int
    grace: int
    purge_on_complete: bool


WARNING_MS = 48 * 3_600_000
"""How long before its end an undelivered video is told of: a weekend's length."""


def expiring_before(rules: KeepRules, now: int) -> int:
    """An undelivered video stored before this moment is about to be purged.

    That is told `WARNING_MS` ahead, but never before half of its time is over.
    """
    return now - rules.keep_undelivered + min(WARNING_MS, rules.keep_undelivered // 2)


def purge_at(video: Kept, rules: KeepRules) -> int:
    """The moment from which a stored video is to be purged."""
    if video.delivered_at is None:
        due = video.stored_at + rules.keep_undelivered
    else:
        due = max(video.stored_at, video.delivered_at) + rules.keep
    if rules.purge_on_complete:
        if video.completed_at is not None:
            due = min(due, max(video.completed_at, video.stored_at))
        if video.delete_wanted and video.delivered_at is not None:
            due = min(due, max(video.stored_at, video.delivered_at) + rules.grace)
    return due
