"""A small organization whose gateway can be killed at any moment, over a real ledger file; what its
windows hold is derived here a second time, from the entries alone and by other arithmetic.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from gateway.core.budget import Limit
from gateway.core.errors import GatewayError
from gateway.core.job import Event
from gateway.core.policy import Rulebook
from gateway.core.retry import Outcome
from gateway.custody import Custody
from gateway.deliver import Deliveries
from gateway.metrics import Metrics
from gateway.orders import ClientGone, Presence, QueueRequest, body_digest
from gateway.ports import Ledger, NoPlace, Reply, Upstream, VideoStore
from gateway.records import Caller, Grant, Job, Key, User
from gateway.room import Room
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.video_records import SqliteVideoRecords
from gateway.track import Tracking
from tests.order_house import Hook, nothing, order_verbs
from tests.promises.window_watch import is_of
from tests.video_house import ToldStore, ToldVenice

ROME = ZoneInfo("Europe/Rome")
DECEMBER = 1_764_590_400_000
"""Noon of a first of December, in UTC."""
PRICES = {"5s": 60_000, "8s": 85_000, "10s": 333_333}
"""Micro-dollars of an order by its duration."""
TEAMS = ("film", "sound")

Entry = tuple[str, str, int, int]
"""Job, kind, the sum of what it moves, and when."""


class FickleVenice(ToldVenice):
    """Accepts, refuses or loses each order as it is told by the order's prompt, and counts what it
    truly made."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: dict[str, str] = {}
        self.made: Counter[str] = Counter()
        self.at_gate: Hook = nothing
        self.at_answer: Hook = nothing
        self._numbers = 0

    def user_wait(self, _user: str) -> float:
        """Nobody has to wait."""
        return 0.0

    async def quote(self, body: Mapping[str, Any], _user: str, _deadline: float) -> Reply:
        """By duration."""
        price = Decimal(PRICES[body["duration"]]) / 1_000_000
        return Reply(Outcome.OK, 200, b"{}", {"quote": price})

    async def queue(
        self,
        body: Mapping[str, Any],
        _user: str,
        _deadline: float,
        before_sending: Callable[[], Awaitable[None]],
    ) -> Reply:
        """Do what the plan says."""
        prompt = body["prompt"]
        plan = self.plans.get(prompt, "accept")
        await self.at_gate(prompt)
        if plan == "no place":
            raise NoPlace
        await before_sending()
        if plan == "refuse":
            return Reply(Outcome.REFUSED, 422, b'{"error":"no"}', {"error": "no"})
        if plan == "server error":
            return Reply(Outcome.SERVER_ERROR, 500, b'{"error":"no"}', {"error": "no"})
        if plan == "lose unmade":
            return Reply(Outcome.LOST)
        self.made[prompt] += 1
        self._numbers += 1
        await self.at_answer(prompt)
        if plan == "lose made":
            return Reply(Outcome.LOST)
        if plan == "answer nonsense":
            return Reply(Outcome.OK, 200, b"{}", {"model": "m"})
        return Reply(Outcome.OK, 200, b"{}", {"model": "m", "queue_id": f"q{self._numbers}"})


class JumpingClock:
    """A wall clock that tests set, and a monotonic one that only goes on."""

    def __init__(self) -> None:
        self.wall = DECEMBER
        self._passed = 0.0

    def now(self) -> int:
        """Unix milliseconds."""
        self.wall += 1
        return self.wall

    def monotonic(self) -> float:
        """Each look takes a minute in which quotes grow stale, but orders do not."""
        self._passed += 0.001
        return self._passed

    def random(self) -> float:
        """Always the same."""
        return 0.5

    async def sleep(self, _seconds: float) -> None:
        """Pass at once."""
        await asyncio.sleep(0)


class MoneyWorld:
    """Two users in two teams, their gateway, and Venice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self.clock = JumpingClock()
        self.venice = FickleVenice()
        self.store = ToldStore()
        self.users = {name: User(name, team=TEAMS[0]) for name in ("anna", "berta")}
        self.keys = {name: Key(f"{name}key0", name, digest=name) for name in self.users}
        self.rulebook = _rulebook(day=1_000_000)

    async def begin(self) -> None:
        """The first start, with its people."""
        await self._open()
        for name, user in self.users.items():
            await self.ledger.add_user(user)
            await self.ledger.add_key(self.keys[name])

    async def _open(self) -> None:
        self.path = self._folder / f"life{self._lives}" / "gateway.db"
        now = self.clock.now()
        self.ledger = await SqliteLedger.open(self.path, upstream="a stand-in", now=now)
        ledger, upstream = cast(Ledger, self.ledger), cast(Upstream, self.venice)
        self.orders, self.sending, self.book = order_verbs(
            ledger, upstream, self.clock, lambda: self.rulebook
        )
        metrics = Metrics()
        store = cast(VideoStore, self.store)
        custody = Custody(ledger, store, upstream, self.clock, self.book, metrics)
        videos = self.rulebook.videos
        room = Room(custody, SqliteVideoRecords(self.ledger.access), lambda: videos)
        deliveries = Deliveries(custody, room, lambda: 4)
        self.tracking = Tracking(
            ledger=ledger,
            upstream=upstream,
            clock=self.clock,
            book=self.book,
            deliveries=deliveries,
            metrics=metrics,
        )

    async def kill(self) -> None:
        """The next life begins with the files as they lie there at this moment, as after a crash;
        what the last one still does reaches nobody."""
        dead, before = self.ledger, self.path.parent
        self._lives += 1
        shutil.copytree(before, self._folder / f"life{self._lives}")
        await self._end_tasks()
        await dead.close()
        shutil.rmtree(before)
        await self._open()
        await self.sending.outcomes.recover()
        await self.tracking.recover()

    async def end(self) -> None:
        """Close the last life."""
        await self._end_tasks()
        await self.ledger.close()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # what people do

    def request(
        self, name: str, prompt: str, duration: str = "5s", key: str | None = None
    ) -> QueueRequest:
        """An order whose client is there."""
        body = {"model": "m", "prompt": prompt, "duration": duration}
        caller = Caller(self.users[name], self.keys[name])
        return QueueRequest(caller, body, body_digest(body), Presence(), key)

    async def order(self, request: QueueRequest) -> Job | GatewayError | ClientGone:
        """Order, and take the answer where there is one."""
        try:
            answer = await self.orders.submit(request)
        except (GatewayError, ClientGone) as error:
            return error
        await self.orders.delivered(answer, whole=request.presence.is_here)
        return answer.job

    async def move(self, name: str, team: str | None) -> None:
        """Move a user to a team."""
        self.users[name] = await self.ledger.change_user(name, {"team": team})

    async def rotate(self, name: str) -> None:
        """Revoke a user's key and make another."""
        old = self.keys[name]
        await self.ledger.change_key(old.id, {"revoked_at": self.clock.now()})
        number = int(old.id.removeprefix(f"{name}key")) + 1
        self.keys[name] = Key(f"{name}key{number}", name, digest=f"{name}{number}")
        await self.ledger.add_key(self.keys[name])

    def limit_days(self, micros: int) -> None:
        """Other rules from now on."""
        self.rulebook = _rulebook(day=micros)

    async def decide(self, job: Job, event: Event) -> None:
        """An administrator's word; refused where the table has it not."""
        with suppress(GatewayError):
            self.book.put(await self.ledger.advance(job.id, event, self.clock.now(), actor="root"))

    # what the file says

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        with closing(self._reading()) as connection:
            return connection.execute(
                "SELECT job, kind, reserved + in_doubt + settled, at FROM entries ORDER BY id"
            ).fetchall()

    def ledger_time(self) -> int:
        """The moment that decides for an order of now: the clock's, or the last entry's."""
        return max([self.clock.wall, *(at for *_, at in self.entries())])

    async def used(self, limit: Limit, at: int) -> int:
        """What a limit's window holds at a moment, by the entries and by a calendar of its own."""
        jobs = {job.id: job for job in await self.ledger.jobs(limit=1_000_000)}
        return sum(
            amount
            for job_id, _, amount, _ in self.entries()
            if is_of(jobs[job_id], limit) and _is_in(limit.window, jobs[job_id].created_at, at)
        )

    async def ceiling(self, limit: Limit, at: int) -> int:
        """A limit with the grants that raise it at a moment."""
        return limit.amount.micros + sum(
            grant.amount.micros for grant in await self.ledger.grants() if _raises(grant, limit, at)
        )

    def limits_of(self, job: Job) -> list[Limit]:
        """What bound an order of now."""
        return self.rulebook.limits_for(
            key_id=job.key_id,
            key_name=None,
            key_budget=None,
            user=job.user,
            team=job.team,
            policy=self.rulebook.policies["default"],
            model=job.model,
        )

    def _reading(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)


def _rulebook(day: int) -> Rulebook:
    own = {"day": f"{day / 1_000_000}", "24h": "1.5", "month": "4"}
    return Rulebook.model_validate(
        {
            "version": 1,
            "organization": {"timezone": "Europe/Rome", "pool": {"month": "6"}},
            "quotes": {"fresh": "0s"},
            "teams": {name: {"policy": "default", "pool": {"week": "2"}} for name in TEAMS},
            "policies": {
                "default": {
                    "each_user": own,
                    "each_key": {"hour": "0.8"},
                    "job": {"usd": "any"},
                    "rate": {
                        "requests_per_minute": 1_000_000,
                        "queue_per_minute": 1_000_000,
                        "active_jobs": 100_000,
                    },
                }
            },
        }
    )


def _is_in(window: str, created_at: int, at: int) -> bool:
    """Whether a job of one moment counts in the window of another, by local dates alone."""
    then, now = (datetime.fromtimestamp(ms / 1000, ROME) for ms in (created_at, at))
    match window:
        case "hour":
            return created_at // 3_600_000 == at // 3_600_000
        case "day":
            return then.date() == now.date()
        case "week":
            return then.isocalendar()[:2] == now.isocalendar()[:2]
        case "month":
            return (then.year, then.month) == (now.year, now.month)
        case "24h":
            return at - 86_400_000 < created_at <= at
    raise AssertionError(window)


def _raises(grant: Grant, limit: Limit, at: int) -> bool:
    return (
        (grant.scope, grant.scope_id) == (limit.scope, limit.id)
        and grant.window in (limit.window, "all")
        and grant.created_at <= at < grant.until
        and grant.revoked_at is None
    )
