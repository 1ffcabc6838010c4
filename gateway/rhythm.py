"""When clients are likely to poll next, by when they polled last: a video that is here a moment
before that waits for nobody. It is a guess in memory, and nothing is refused or counted by it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gateway.core.cadence import Beat, beat_after

JOBS_MAX = 20_000
"""Jobs whose polls are remembered: more than are ever open; beyond it the oldest are forgotten."""


class Rhythm:
    """The polls of each job, as far as they are regular; `now` is in monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._beats: OrderedDict[str, Beat] = OrderedDict()

    def note(self, job_id: str) -> None:
        """A client has polled a job."""
        self._beats[job_id] = beat_after(self._beats.get(job_id), self._now())
        if len(self._beats) > JOBS_MAX:
            self._beats.popitem(last=False)

    def of(self, job_id: str) -> Beat | None:
        """How a job is polled, if it is."""
        return self._beats.get(job_id)

    def forget(self, job_id: str) -> None:
        """A job is over."""
        self._beats.pop(job_id, None)
