"""When a stored video is read again to see whether the disk still has it, and how long to rest
between two: slow enough to disturb nobody, soon enough that each has its turn in time.
"""

from __future__ import annotations

PERIOD_MS = 30 * 86_400_000
"""Each stored video is proved once in so long."""
DUE_MS = PERIOD_MS // 2
"""From this age on it is a video's turn: the other half of the period is there to get to it."""
REST_SHARE = 9
"""Rest for each unit of reading: a tenth of the time of one thread and its disk at most."""
REST_SECONDS_MIN = 1.0


def is_due(proved_at: int, now: int) -> bool:
    """Whether it is the turn of a video last proved, or stored, at a moment (milliseconds)."""
    return now - proved_at >= DUE_MS


def rest_after(reading_seconds: float) -> float:
    """Seconds to rest after reading a video took so long."""
    return max(REST_SECONDS_MIN, REST_SHARE * reading_seconds)
