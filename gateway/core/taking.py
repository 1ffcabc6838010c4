"""Whether a client takes the answer it asked for; it says so, and closes nothing."""

from __future__ import annotations

UNTAKEN_SECONDS_MAX = 28.0
"""An answer may lie untaken so long; with two late looks it makes less than 30 s. Who reads on
later, as a browser does whose video was paused, asks for the rest by range."""


class Taking:
    """What one client takes of what lies ready for it, as two looks a second see it."""

    __slots__ = ("_left", "_since")

    def __init__(self) -> None:
        self._left = 0
        self._since = 0.0

    def taken(self) -> None:
        """Something was taken since the last look, whatever lies there now."""
        self._left = 0

    def is_stuck(self, left: int, now: float) -> bool:
        """Whether nothing was taken for too long; `left` are the bytes that lie ready."""
        if left != self._left or not left:
            self._left, self._since = left, now
        return now - self._since > UNTAKEN_SECONDS_MAX
