"""What this gateway knows of how long videos take, by model, resolution and seconds: learned from
every video that became ready, kept across restarts. It decides nothing about looks.
"""

from __future__ import annotations

import structlog

from gateway.core.completion import Expected, Kind, Sketch, expect
from gateway.ports import Clock, CompletionTimes, LedgerFailure
from gateway.records import Job

KINDS_MAX = 2_000
"""Kinds told apart: a catalogue of a hundred models with all their resolutions and durations.
Beyond it a model's jobs are all of one kind."""
FRESH_SECONDS = 10.0
"""How old a belief may be: what one more video changes is not worth planning anew for at once."""

_log = structlog.get_logger(__name__)


class _Lore:
    """One kind: what was seen, what Venice says, and what is believed of both."""

    def __init__(self, sketch: Sketch, average_ms: int | None) -> None:
        self.sketch = sketch
        self.average_ms = average_ms
        self.expected: Expected | None = None
        self.believed_at = 0.0
        self.is_outdated = False
        self.is_unsaved = False


class Experience:
    """Beliefs about completion times; `kept` is where they outlive the process."""

    def __init__(self, kept: CompletionTimes, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock
        self._lores: dict[Kind, _Lore] = {}
        self._averages: dict[str, int] = {}
        """The last published average of each model, for those of its kinds that have none."""
        self._heard: set[str] = set()
        """Models about which Venice has said something."""

    async def load(self) -> None:
        """Read what was learned before; once, at a start."""
        for kind, sketch, average_ms in await self._kept.read():
            self._lores[kind] = _Lore(sketch, average_ms)
            self._heard.add(kind.model)
            if average_ms is not None:
                self._averages[kind.model] = average_ms

    def kind_of(self, job: Job) -> Kind:
        """What a job is compared with."""
        kind = Kind(job.model, job.resolution, job.seconds)
        if kind in self._lores or len(self._lores) < KINDS_MAX:
            return kind
        return Kind(job.model)

    def hear(self, kind: Kind, average_ms: int | None) -> None:
        """Venice said something of a job of this kind, perhaps with an average: the P80, in
        milliseconds."""
        self._heard.add(kind.model)
        lore = self._lore(kind)
        if average_ms is not None and lore.average_ms != average_ms:
            lore.average_ms = self._averages[kind.model] = average_ms
            lore.is_outdated = True

    def learn(self, kind: Kind, after: float, upto: float) -> None:
        """A video was not ready `after` seconds and was `upto` seconds; `save` it."""
        self._heard.add(kind.model)
        lore = self._lore(kind)
        lore.sketch = lore.sketch.seen(after, upto, self._usual(kind))
        lore.is_outdated = lore.is_unsaved = True

    def knows(self, kind: Kind) -> bool:
        """Whether anything is known of the kind's model."""
        return kind.model in self._heard

    def expected(self, kind: Kind) -> Expected:
        """What to believe of a kind; the same object until there is news."""
        lore, now = self._lore(kind), self._clock.monotonic()
        is_old = lore.is_outdated and now - lore.believed_at >= FRESH_SECONDS
        if lore.expected is None or is_old:
            lore.expected = expect(lore.sketch, self._usual(kind))
            lore.believed_at, lore.is_outdated = now, False
        return lore.expected

    def total_seconds(self, job: Job, elapsed: float) -> float:
        """How long a job that has taken so long will have taken in the end: in half of the cases
        less. A guess for people; looks are not planned by it."""
        return self.expected(self.kind_of(job)).quantile(0.5, elapsed)

    async def save(self, kind: Kind) -> None:
        """Keep what was learned of a kind; one write, and none where nothing is new.

        Where the ledger cannot write, the next video of this kind brings another try.
        """
        lore = self._lores.get(kind)
        if lore is None or not lore.is_unsaved:
            return
        lore.is_unsaved = False
        try:
            await self._kept.keep(kind, lore.sketch, lore.average_ms, self._clock.now())
        except LedgerFailure as error:
            lore.is_unsaved = True
            _log.warning("experience.not_kept", model=kind.model, why=str(error))

    def _usual(self, kind: Kind) -> float | None:
        """The published P80 in seconds: the kind's own, else its model's."""
        average_ms = self._lore(kind).average_ms or self._averages.get(kind.model)
        return None if average_ms is None else average_ms / 1000

    def _lore(self, kind: Kind) -> _Lore:
        lore = self._lores.get(kind)
        if lore is None:
            lore = self._lores[kind] = _Lore(Sketch(), None)
        return lore
