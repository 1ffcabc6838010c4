"""Orders over a real ledger and an upstream that does as it is told, for tests of what may go wrong
between the two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gateway.allowances import Allowances
from gateway.balance_watch import BalanceWatch
from gateway.book import JobBook
from gateway.budget_watch import BudgetWatch
from gateway.core.catalogue import Catalogue, ModelFacts
from gateway.core.money import ZERO, Money
from gateway.core.policy import Rulebook
from gateway.core.retry import Outcome
from gateway.estimate import Estimator
from gateway.metrics import Metrics
from gateway.moments import SystemClock
from gateway.orders import Presence, QueueRequest, body_digest
from gateway.policies import LoadedRules
from gateway.ports import Clock, Ledger, Reply, Upstream
from gateway.quotes import QuoteBook
from gateway.records import Caller, Job, Key, User
from gateway.sending import Sending
from gateway.spending import Spending
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.submit import Orders, Waits
from tests.handed_in import HandedIn

Hook = Callable[..., Awaitable[None]]


async def nothing(*_values: object) -> None:
    """The hook of what goes well."""


class WilfulLedger:
    """A real ledger; what a test hooks into `before` runs ahead of the method of that name."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self.before: dict[str, Hook] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)

        async def hooked(*values: Any, **named: Any) -> Any:
            await self.before.get(name, nothing)(*values)
            return await method(*values, **named)

        return hooked


@dataclass
class WilfulVenice:
    """Quotes six cents; accepts every order, unless told otherwise, and counts them."""

    before_gate: Hook = nothing
    before_answer: Hook = nothing
    answer: Reply | None = None
    bought: int = 0
    price: Decimal = Decimal("0.06")

    def user_wait(self, _user: str) -> float:
        """Nobody has to wait."""
        return 0.0

    async def quote(self, _body: Mapping[str, Any], _user: str, _deadline: float) -> Reply:
        """The same price for everything."""
        return Reply(Outcome.OK, 200, f'{{"quote":{self.price}}}'.encode(), {"quote": self.price})

    async def queue(
        self,
        _body: Mapping[str, Any],
        _user: str,
        _deadline: float,
        before_sending: Callable[[], Awaitable[None]],
    ) -> Reply:
        """Buy one more."""
        await self.before_gate()
        await before_sending()
        self.bought += 1
        number = self.bought
        await self.before_answer()
        accepted = {"model": "m", "queue_id": f"q{number}"}
        return self.answer or Reply(Outcome.OK, 200, b"", accepted)


@dataclass
class OrderHouse:
    """The parts that a test looks at."""

    orders: Orders
    ledger: WilfulLedger
    venice: WilfulVenice
    book: JobBook
    caller: Caller
    real: SqliteLedger
    presences: list[Presence] = field(default_factory=list)

    def request(self, prompt: str = "p", key: str | None = None) -> QueueRequest:
        """A queue request of a client that is there."""
        body = {"model": "m", "prompt": prompt, "duration": "5s"}
        presence = Presence()
        return QueueRequest(self.caller, body, body_digest(body), presence, key)

    async def jobs(self) -> list[Job]:
        """Every job, newest first."""
        return await self.real.jobs()


@asynccontextmanager
async def order_house(
    folder: Path,
    *,
    waits: Waits | None = None,
    policy: Mapping[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[OrderHouse]:
    """A house with one user; `policy` is the default policy's text, `sections` are others."""
    clock = SystemClock()
    real = await SqliteLedger.open(folder / "gateway.db", upstream="test", now=clock.now())
    caller = Caller(User("ann"), Key("k1", "ann", "digest"))
    await real.add_user(caller.user)
    await real.add_key(caller.key)
    wilful, venice = WilfulLedger(real), WilfulVenice()
    policies = {"default": policy or {}}
    rulebook = Rulebook.model_validate({"version": 1, "policies": policies, **sections})
    orders, _, book = order_verbs(
        cast(Ledger, wilful), cast(Upstream, venice), clock, lambda: rulebook, waits
    )
    try:
        yield OrderHouse(orders, wilful, venice, book, caller, real)
    finally:
        await real.close()


def order_verbs(
    ledger: Ledger,
    upstream: Upstream,
    clock: Clock,
    rulebook: Callable[[], Rulebook],
    waits: Waits | None = None,
) -> tuple[Orders, Sending, JobBook]:
    """The verbs of an order put together as they run, before a catalogue of one model `m`."""
    metrics = Metrics()
    book = JobBook(ledger.job)

    async def nothing_spent(_since: int) -> Money:
        return ZERO

    balance = BalanceWatch(
        upstream, clock, metrics, has_billing_key=lambda: False, spent_since=nothing_spent
    )
    sending = Sending(
        ledger=ledger,
        upstream=upstream,
        clock=clock,
        book=book,
        estimator=Estimator(
            quotes=QuoteBook(upstream, clock, metrics, lambda: rulebook().quotes),
            ledger=ledger,
            clock=clock,
            rules=lambda: cast(LoadedRules, SimpleNamespace(rulebook=rulebook(), version="test")),
            catalogue=lambda: Catalogue({"m": ModelFacts("m")}),
        ),
        spending=Spending(clock, metrics, ledger, lambda: True),
        allowances=Allowances(clock, rulebook),
        metrics=metrics,
        budgets=BudgetWatch(clock, HandedIn()),
        balance=balance,
        upstream_key=lambda: "fingerprint",
    )
    return Orders(ledger, clock, book, sending, lambda: waits or Waits()), sending, book
