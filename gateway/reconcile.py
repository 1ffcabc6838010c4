"""The comparison of the ledger with Venice's bill, and what follows: doubts end, errors are put
right, and what no evidence explains is reported and left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from gateway.bill_walk import Walk, walk_bill
from gateway.core.bill import Comparison, compare
from gateway.core.charges import NEAR_MS, BillRow
from gateway.core.errors import Conflict
from gateway.core.policy import DoubtRules
from gateway.core.verdict import covered, judge
from gateway.evidence import Acted, Evidence
from gateway.ledgered import dollars
from gateway.metrics import Metrics
from gateway.ports import Clock, Reconciliations, Upstream
from gateway.reconciled import summed
from gateway.records import Reconciliation

LOOK_BACK_MS = 7 * 86_400_000
"""Before the last whole run: refunds and corrections of Venice's come days after a charge."""
MARGIN_MS = 2 * NEAR_MS
"""Jobs and rows this far before a range take part, so that none at its edge lacks its other half;
they are not reported."""
OFF = (
    "Reconciliation is off: Venice's inference keys cannot read its bill. Set VENICE_BILLING_KEY "
    "(or VENICE_BILLING_KEY_FILE) to an admin key of the organization's account, and start the "
    "gateway again."
)

_log = structlog.get_logger(__name__)


class Reconciler:
    """Compares, one run at a time. Without an upstream it is off, and says how to turn it on."""

    def __init__(
        self,
        *,
        kept: Reconciliations,
        evidence: Evidence,
        upstream: Upstream | None,
        clock: Clock,
        metrics: Metrics,
        rules: Callable[[], DoubtRules],
        models: Callable[[], Collection[str]],
    ) -> None:
        """`upstream` asks with the billing key; `models` are those of the catalogue."""
        self.kept = kept
        self._evidence = evidence
        self._upstream = upstream
        self._clock = clock
        self._metrics = metrics
        self._rules = rules
        self._models = models
        self._running = asyncio.Lock()
        self.last: Reconciliation | None = None
        """The newest whole run that this process knows of."""
        metrics.reconciliation_on.set(int(self.is_on))

    @property
    def is_on(self) -> bool:
        """Whether there is a key that may read the bill."""
        return self._upstream is not None

    @property
    def state(self) -> str:
        """How it stands, in operators' words."""
        if not self.is_on:
            return "off: VENICE_BILLING_KEY is not set"
        if self.last is None:
            return "on, Venice's bill was not read yet"
        return f"on, run {self.last.number} left {self.last.drift} USD between bill and ledger"

    async def recall(self) -> None:
        """Know again what the last whole run found; once, at a start."""
        last = await self.kept.last_whole()
        if last is not None:
            self._remember(last)

    async def run(
        self, actor: str, since: int | None = None, *, covering: int | None = None
    ) -> Reconciliation:
        """Compare everything sent since a moment, and put right what can be.

        Without `since` from a week before the last whole run and from the oldest doubt; never
        later than `covering`. `Conflict` where it is off, `UpstreamBusy` or `UpstreamInvalid`
        where Venice does not tell; nothing is changed then.
        """
        if self._upstream is None:
            raise Conflict(OFF)
        async with self._running:
            started_at = self._clock.now()
            due = await self._due_from(started_at)
            begin = due if since is None else since
            begin = begin if covering is None else min(begin, covering)
            models = {*self._models(), *await self.kept.models()}
            walk = await walk_bill(self._upstream, self._clock, max(0, begin - NEAR_MS), models)
            comparison = await self._compared(walk, begin, models)
            acted = await self._act(comparison, walk, begin)
            run = summed(
                actor=actor,
                started_at=started_at,
                ended_at=self._clock.now(),
                since=begin,
                is_whole=begin <= due,
                walk=walk,
                acted=acted,
                theirs=await self._strangers(comparison, walk, begin),
            )
            run = await self.kept.keep(run)
            if run.is_whole:
                self._remember(run)
            _log.info("reconciliation.done", run=run.number, drift_usd=str(run.drift), **run.counts)
            return run

    async def _due_from(self, now: int) -> int:
        """From when on a run must look to leave nothing out."""
        first, last = await self.kept.first_sent(), await self.kept.last_whole()
        due = now if first is None else first
        if last is not None:
            due = max(due, last.until - LOOK_BACK_MS)
        doubt = await self.kept.oldest_doubt()
        return due if doubt is None else min(due, doubt)

    async def _compared(self, walk: Walk, begin: int, models: Collection[str]) -> Comparison:
        # Read after the bill: whatever is on it was marked as being sent before.
        jobs = await self.kept.sent(begin - MARGIN_MS)
        if not walk.is_complete:
            jobs = [job for job in jobs if job.sent_at + NEAR_MS <= walk.last_row_at]
        return await asyncio.to_thread(
            compare, jobs, walk.dollars, models=models, otherwise=walk.others
        )

    async def _act(self, comparison: Comparison, walk: Walk, begin: int) -> list[Acted]:
        rules = self._rules()
        coverage = covered(
            comparison,
            walked_at=walk.walked_at,
            last_row_at=walk.last_row_at,
            release_after=rules.release_after,
            settle_after=rules.settle_after,
        )
        ids_are_queue_ids = comparison.ids_are_queue_ids
        return await self._evidence.act(
            [
                (match, judge(match, coverage, ids_are_queue_ids=ids_are_queue_ids))
                for match in comparison.matches
                if match.job.sent_at >= begin
            ]
        )

    async def _strangers(self, comparison: Comparison, walk: Walk, begin: int) -> list[BillRow]:
        """Rows that no job explains, but for late ones of jobs from before the range."""
        end = walk.walked_at if walk.is_complete else walk.last_row_at - MARGIN_MS
        rows = [row for row in comparison.theirs_only if begin <= row.at <= end]
        known = await self.kept.known({row.request_id for row in rows if row.request_id})
        return [row for row in rows if row.request_id not in known]

    def _remember(self, run: Reconciliation) -> None:
        self.last = run
        self._metrics.bill_drift.set(dollars(run.drift))
        self._metrics.reconciled_at.set(run.started_at // 1000)
