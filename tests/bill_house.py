"""A ledger, a bill that a test writes, and a reconciler between them, on a still clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gateway.administer import Office
from gateway.app.reconciling import open_reconciler
from gateway.book import JobBook
from gateway.core.budget import Calendar
from gateway.core.catalogue import Catalogue, ModelFacts
from gateway.core.job import Event
from gateway.core.money import Money
from gateway.core.policy import Rulebook
from gateway.core.retry import Outcome
from gateway.metrics import Metrics
from gateway.moments import rfc3339
from gateway.ports import Reply, Upstream
from gateway.reconcile import Reconciler
from gateway.records import Caller, Job, Key, Order, Reserved, User
from gateway.spending import Spending
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.upstream.still_clock import StillClock

MODEL = "wan-2.2"
PRICE = Money(60_000)
CALLER = Caller(User("anna"), Key("annakey", "anna", digest="1" * 64))
TAKEN = (Event.SEND, Event.ACCEPT, Event.FAIL_BILLED)
LOST = (Event.SEND, Event.LOSE_ANSWER)
PAGE = 3
"""Rows on a page: few, so that every walk turns some."""


@dataclass
class PaperBill:
    """Venice's side: rows in order, given out a page at a time; `answer` in place of a page."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Mapping[str, str]] = field(default_factory=list)
    answer: Reply | None = None

    def add(self, at: int, usd: str, request_id: str | None = None, **changes: Any) -> None:
        """A charge of so many dollars, or with a minus a refund."""
        details = None if request_id is None else {"requestId": request_id}
        row = {
            "amount": -Decimal(usd),
            "currency": "USD",
            "sku": f"{MODEL}-video-unit",
            "timestamp": rfc3339(at),
            "inferenceDetails": details,
        }
        self.rows.append({**row, **changes})
        self.rows.sort(key=lambda each: str(each["timestamp"]))

    async def usage(self, query: Mapping[str, str], deadline: float) -> Reply:
        """A page."""
        del deadline
        self.asked.append(query)
        if self.answer is not None:
            return self.answer
        start = int(query.get("cursor", "c0")[1:])
        since = query.get("startTimestamp", "")
        rows = [row for row in self.rows if row["timestamp"] >= since] if since else self.rows
        skipped = len(self.rows) - len(rows) + start
        following = skipped + PAGE
        cursor = f"c{following}" if following < len(self.rows) else None
        page = {"data": self.rows[skipped:following], "nextCursor": cursor}
        return Reply(Outcome.OK, 200, b"", page)


@dataclass
class BillHouse:
    """What a test looks at."""

    ledger: SqliteLedger
    bill: PaperBill
    clock: StillClock
    book: JobBook
    metrics: Metrics
    reconciler: Reconciler
    office: Office
    spending: Spending
    jobs_made: int = 0

    async def job(self, *events: Event, quote: Money = PRICE, model: str = MODEL) -> Job:
        """A job that was led through these events a moment apart."""
        self.jobs_made += 1
        number = self.jobs_made
        order = Order(
            id=f"job{number}",
            caller=CALLER,
            model=model,
            body_digest=f"{number}",
            idempotency_key=None,
            quote=quote,
            limits=(),
            calendar=Calendar(),
        )
        held = await self.ledger.reserve(order, self.clock.now())
        assert isinstance(held, Reserved)
        job = held.job
        for event in events:
            facts: dict[str, Any] = {}
            if event is Event.SEND:
                facts = {"sent_at": self.clock.now()}
            await self.clock.advance(0.1)
            if event is Event.ACCEPT:
                facts = {"queue_id": f"q{number}", "accepted_at": self.clock.now()}
            job = await self.ledger.advance(job.id, event, self.clock.now(), facts=facts)
        return self.book.put(job)

    async def now(self, job: Job) -> Job:
        """The job as it stands."""
        found = await self.ledger.job(job.id)
        assert found is not None
        assert self.book.known(job.id) == found, "memory follows the ledger"
        return found


@asynccontextmanager
async def bill_house(folder: Path, **in_doubt: str) -> AsyncIterator[BillHouse]:
    """A house; `in_doubt` as in the policy."""
    clock, metrics, bill = StillClock(), Metrics(), PaperBill()
    ledger = await SqliteLedger.open(folder / "gateway.db", upstream="test", now=clock.now())
    await ledger.add_user(CALLER.user)
    await ledger.add_key(CALLER.key)
    document = {"version": 1, "policies": {"default": {}}, "in_doubt": in_doubt}
    rulebook = Rulebook.model_validate(document)
    book = JobBook(ledger.job)
    reconciler = open_reconciler(
        ledger=ledger,
        upstream=cast(Upstream, bill),
        clock=clock,
        book=book,
        metrics=metrics,
        rules=lambda: rulebook.in_doubt,
        catalogue=lambda: Catalogue({MODEL: ModelFacts(MODEL)}),
    )
    spending = Spending(clock, metrics, ledger, lambda: True)
    office = cast(
        Office,
        SimpleNamespace(
            ledger=ledger,
            book=book,
            clock=clock,
            spending=spending,
            reconciler=reconciler,
            rulebook=rulebook,
            rules=lambda: rulebook,
        ),
    )

    async def audit(actor: str, act: str, target: str, detail: Mapping[str, Any]) -> None:
        await ledger.audit(at=clock.now(), actor=actor, act=act, target=target, detail=str(detail))

    office.audit = audit  # type: ignore[method-assign]
    try:
        yield BillHouse(ledger, bill, clock, book, metrics, reconciler, office, spending)
    finally:
        await ledger.close()
