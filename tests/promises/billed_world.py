"""The small organization with all that moves its money beside orders: limits on single models, jobs
bought elsewhere, and a bill of Venice's that may say otherwise than the ledger did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

from gateway.app.reconciling import open_reconciler
from gateway.core.budget import Calendar, Limit, Scope
from gateway.core.catalogue import Catalogue, ModelFacts
from gateway.core.job import Event
from gateway.core.money import Money
from gateway.core.policy import ModelRules, Rulebook
from gateway.metrics import Metrics
from gateway.ports import Reply, Upstream
from gateway.records import Adoption, Caller, Grant, Job
from tests.bill_house import PaperBill
from tests.promises.money_world import PRICES, FickleVenice, MoneyWorld
from tests.promises.window_watch import counts

ORDERED, ALIKE, OTHER = "m", "m-fast", "n"
"""The model of all orders; one that the same limits take in; and one that they do not."""
OF_MODELS = {"m*": {"each_user": {"week": "1.4"}, "each_key": {"24h": "0.9"}}}
ALL = 1_000_000


class Row(NamedTuple):
    """A ledger entry, with what it moves in all."""

    id: int
    job: str
    kind: str
    amount: int
    at: int
    actor: str | None


class BillingVenice(FickleVenice):
    """Bills what it truly makes, whatever becomes of its answer."""

    def __init__(self, world: BilledWorld) -> None:
        super().__init__()
        self._world = world

    async def queue(
        self,
        body: Mapping[str, Any],
        user: str,
        deadline: float,
        before_sending: Callable[[], Awaitable[None]],
    ) -> Reply:
        """Do what the plan says."""
        prompt = body["prompt"]
        try:
            return await super().queue(body, user, deadline, before_sending)
        finally:
            if self.made[prompt] and prompt not in self._world.purchases:
                self._world.purchases.add(prompt)
                queue_id, at = f"q{self._numbers}", self._world.clock.wall
                self._world.charge(queue_id, at, PRICES[body["duration"]])


class BilledWorld(MoneyWorld):
    """Two users, their gateway, Venice, and what Venice bills."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rulebook = _with_models(self.rulebook)
        self.bill = PaperBill()
        self.billed: Counter[str] = Counter()
        """Micro-dollars by request id, after refunds."""
        self.purchases: set[str] = set()
        self.venice = BillingVenice(self)
        self._late = 0

    async def _open(self) -> None:
        await super()._open()
        models = {name: ModelFacts(name) for name in (ORDERED, ALIKE, OTHER)}
        self.reconciler = open_reconciler(
            ledger=self.ledger,
            upstream=cast(Upstream, self.bill),
            clock=self.clock,
            book=self.book,
            metrics=Metrics(),
            rules=lambda: self.rulebook.in_doubt,
            catalogue=lambda: Catalogue(models),
        )

    # Venice's side

    def charge(self, request_id: str, at: int, micros: int, model: str = ORDERED) -> None:
        """Put a row on the bill; less than nothing is a refund."""
        self.billed[request_id] += micros
        self.bill.add(at, str(Money(micros)), request_id, sku=f"{model}-video-unit")

    def charge_in_all(self, job: Job, micros: int) -> None:
        """Make the bill say of a job that it cost so much. A job whose queue_id nobody knows gets
        a row of its quote first: that is what tells whose it is."""
        assert job.sent_at is not None
        request_id = job.queue_id
        if request_id is None:
            self._late += 1
            request_id = f"late{self._late}"
            self.charge(request_id, job.sent_at, job.quote.micros, job.model)
        more = micros - self.billed[request_id]
        if more:
            self.charge(request_id, job.sent_at, more, job.model)

    # what people do

    def limit_days(self, micros: int) -> None:
        """Other rules from now on."""
        super().limit_days(micros)
        self.rulebook = _with_models(self.rulebook)

    async def reconcile(self) -> None:
        """Compare all there is with the bill, and act on it."""
        await self.reconciler.run("root", since=0)

    async def adopt(self, name: str, number: int, model: str, micros: int, ago_ms: int) -> Job:
        """Take over a job that was bought elsewhere, a while ago."""
        at = self.clock.now()
        bought_at = at - ago_ms
        self.charge(f"a{number}", bought_at, micros, model)
        caller = Caller(self.users[name], self.keys[name])
        adoption = Adoption(
            f"adopted{number}", f"a{number}", caller, model, Money(micros), created_at=bought_at
        )
        return self.book.put(await self.ledger.adopt(adoption, at, "root"))

    async def end_as(self, job: Job, event: Event, cost: Money) -> Job:
        """End a job by evidence of another cost than its quote."""
        at = self.clock.now()
        moved = await self.ledger.advance(job.id, event, at, actor="reconcile", settle_as=cost)
        return self.book.put(moved)

    async def take_back(self, grant: Grant) -> Grant:
        """End a grant before its time."""
        return await self.ledger.revoke_grant(grant.id, self.clock.now())

    # what the file says

    def rows(self, after: int) -> list[Row]:
        """Entries with a greater id, oldest first."""
        with closing(self._reading()) as connection:
            found = connection.execute(
                "SELECT id, job, kind, reserved + in_doubt + settled, at, actor FROM entries "
                "WHERE id > ? ORDER BY id",
                (after,),
            )
            return [Row(*row) for row in found]

    async def reached(self) -> int:
        """The moment that decides for an order of now, of which also a refusal is evidence that
        left no entry: any window that rolls ends there."""
        rolling = Limit(Scope.USER, "nobody", "nobody", "1s", Money(0))
        (standing,) = await self.ledger.standings([rolling], Calendar(), self.clock.wall)
        return standing.span.end - 1

    async def used(self, limit: Limit, at: int) -> int:
        """What a limit's window holds at a moment, by the entries and by a calendar of its own."""
        return (await self.used_of([limit], at))[0]

    async def used_of(self, limits: Sequence[Limit], at: int) -> list[int]:
        """The same of several."""
        jobs = {job.id: job for job in await self.ledger.jobs(limit=ALL)}
        rows = [(jobs[row.job], row.amount) for row in self.rows(0)]
        return [sum(amount for job, amount in rows if counts(limit, job, at)) for limit in limits]

    def limits_of_user(self, name: str) -> list[Limit]:
        """What would bind an order of theirs now."""
        return self.rulebook.limits_for(
            key_id=self.keys[name].counts_as,
            key_name=None,
            key_budget=None,
            user=name,
            team=self.users[name].team,
            policy=self.rulebook.policies["default"],
            model=ORDERED,
        )


def _with_models(rulebook: Rulebook) -> Rulebook:
    per_model = {glob: ModelRules.model_validate(rules) for glob, rules in OF_MODELS.items()}
    policy = rulebook.policies["default"].model_copy(update={"per_model": per_model})
    return rulebook.model_copy(update={"policies": {"default": policy}})
