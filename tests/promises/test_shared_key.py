"""R21–R25: one key for everybody, never over its limits, never blocked by one, never at one's cost.

The gate runs on a clock of its own, before a Venice that counts arrivals and failures itself.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import httpx
import pytest
import respx

from gateway.core.pacing import CallClass, GateLimits
from gateway.core.retry import Endpoint, Outcome, RetryRules
from gateway.ports import ModelClosed, NoPlace, Reply
from gateway.records import RecordedCall
from gateway.upstream.gate import Gate
from tests.upstream.scene import URL, Scene
from tests.upstream.still_clock import StillClock

MINUTE, FAILURES_IN, BLOCK = 60.0, 30.0, 30.0
QUEUE_MOST, RETRIEVE_MOST, FAILURES_MOST = 40, 120, 20
"""Venice's documented limits."""
HOLD = 25.0
Answer = tuple[Outcome, float | None]


class Venice:
    """Counts as Venice does: when a call arrives, and when it failed."""

    def __init__(self, clock: StillClock) -> None:
        self.clock = clock
        self.arrived: dict[Endpoint, deque[float]] = {e: deque() for e in Endpoint}
        self.failures: deque[float] = deque()
        self.blocked_until = 0.0
        self.limited = self.blocks = self.refused_by_block = 0

    def take(self, endpoint: Endpoint, *, fails: bool) -> Answer:
        """One call arrives."""
        now = self.clock.monotonic()
        if now < self.blocked_until:
            self.refused_by_block += 1
            return Outcome.BLOCKED, self.blocked_until - now
        window = self.arrived[endpoint]
        while window and window[0] <= now - MINUTE:
            window.popleft()
        most = {Endpoint.QUEUE: QUEUE_MOST, Endpoint.RETRIEVE: RETRIEVE_MOST}.get(endpoint)
        if most is not None and len(window) >= most:
            self.limited += 1
            return self._failed(Outcome.RATE_LIMITED)
        window.append(now)
        return self._failed(Outcome.REFUSED) if fails else (Outcome.OK, None)

    def _failed(self, outcome: Outcome) -> Answer:
        now = self.clock.monotonic()
        self.failures.append(now)
        while self.failures[0] <= now - FAILURES_IN:
            self.failures.popleft()
        if len(self.failures) > FAILURES_MOST:
            self.block()
        return outcome, None

    def block(self) -> None:
        """The key is refused from now on, for half a minute."""
        self.blocks += 1
        self.failures.clear()
        self.blocked_until = self.clock.monotonic() + BLOCK


class Key:
    """A gate before that Venice; it may be killed and started again at any moment."""

    def __init__(self, seed: int) -> None:
        print(f"seed {seed}")
        self.chance = random.Random(seed)
        self.clock = StillClock()
        self.venice = Venice(self.clock)
        self.calls: list[RecordedCall] = []
        self.sent: list[tuple[float, Endpoint, str]] = []
        self.gate = Gate(self.clock, GateLimits(), self._record)
        self.passed: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self.under_way: set[asyncio.Task[None]] = set()

    async def _record(self, call: RecordedCall) -> None:
        self.calls.append(call)

    async def call(self, endpoint: Endpoint, user: str, *, fails: bool = False) -> None:
        """One call of a user, if a place is found within the hold."""
        deadline = self.clock.monotonic() + HOLD
        try:
            async with self.gate.turn(endpoint, user, deadline) as turn:
                turn.depart()
                self.sent.append((self.clock.monotonic(), endpoint, user))
                await self.clock.sleep(self.chance.uniform(0.01, 0.4))
                outcome, wait = self.venice.take(endpoint, fails=fails)
                await self.clock.sleep(self.chance.uniform(0.01, 0.6))
                await turn.finish(outcome, wait)
        except NoPlace:
            self.turned_away[user] += 1
            return
        self.passed[user] += outcome is Outcome.OK

    async def keep_calling(self, endpoint: Endpoint, user: str, *, fails: bool = False) -> None:
        """A user who always wants more."""
        while True:
            await self.call(endpoint, user, fails=fails)

    def begin(self, calling: Awaitable[None]) -> None:
        """Let something go on beside the clock."""
        task = asyncio.ensure_future(calling)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def restart(self) -> None:
        """Kill the gateway with everything in flight; the next one knows what was recorded."""
        for task in list(self.under_way):
            task.cancel()
        await asyncio.gather(*self.under_way, return_exceptions=True)
        self.gate = Gate(self.clock, GateLimits(), self._record)
        self.gate.recall(self.calls, self.clock.now())

    async def end(self) -> None:
        """Everybody goes."""
        for task in list(self.under_way):
            task.cancel()
        await asyncio.gather(*self.under_way, return_exceptions=True)

    def most_sent(self, endpoint: Endpoint) -> int:
        """The most calls that left in any sixty seconds."""
        times = [at for at, kind, _ in self.sent if kind is endpoint]
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - MINUTE:
                first += 1
            most = max(most, last - first + 1)
        return most


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(2**32)


@pytest.mark.parametrize(
    ("minutes", "kills"), [(3, 2), pytest.param(30, 25, marks=pytest.mark.torture)]
)
async def test_no_minute_passes_the_limits_whatever_the_load_and_the_kills(
    seed: int, minutes: int, kills: int
) -> None:
    """R21: ten times the load, kills at any moment."""
    key = Key(seed)
    users = [f"user {number}" for number in range(10)]

    def crowd() -> None:
        for user in users:
            for _ in range(4):
                key.begin(key.keep_calling(Endpoint.QUEUE, user))
            for _ in range(6):
                key.begin(key.keep_calling(Endpoint.RETRIEVE, user))

    moments = sorted(key.chance.uniform(0, minutes * MINUTE) for _ in range(kills))
    for before, moment in pairwise([0.0, *moments, minutes * MINUTE]):
        crowd()
        await key.clock.advance(moment - before)
        await key.restart()
    await key.end()
    assert key.most_sent(Endpoint.QUEUE) <= 38
    assert key.most_sent(Endpoint.RETRIEVE) <= 114
    assert (key.venice.limited, key.venice.blocks) == (0, 0)
    orders = sum(kind is Endpoint.QUEUE for _, kind, _ in key.sent)
    print(f"R21: {orders} orders and {len(key.sent) - orders} looks in {minutes} min, 0 429s")
    assert orders >= 0.8 * 38 * (minutes - 1)


@pytest.mark.parametrize("minutes", [2, pytest.param(30, marks=pytest.mark.torture)])
async def test_an_attacker_blocks_nobody_and_takes_nobodys_place(seed: int, minutes: int) -> None:
    """R22: a thousand bad requests in ten seconds, beside ten honest users."""
    key = Key(seed)
    honest = [f"user {number}" for number in range(10)]

    async def attack() -> None:
        while True:
            # What waits already at the gate is as good as a thousand more.
            while key.gate.waiting(CallClass.QUEUE) < 200:
                key.begin(key.call(Endpoint.QUEUE, "attacker", fails=True))
                await key.clock.sleep(0.01)
            await key.clock.sleep(1.0)

    async def work(user: str) -> None:
        while True:
            await key.call(Endpoint.QUEUE, user)
            await key.clock.sleep(key.chance.uniform(15, 25))

    most = 0
    for calling in (attack(), *map(work, honest)):
        key.begin(calling)
    for _ in range(minutes * 60):
        await key.clock.advance(1.0)
        most = max(most, 15 - key.gate.failure_budget())
    passed = sum(key.passed[user] for user in honest)
    lost = sum(key.turned_away[user] for user in honest)
    attacks = [at for at, _, user in key.sent if user == "attacker"]
    await key.end()
    print(f"R22: honest {passed} of {passed + lost}, attacker sent {len(attacks)}, most {most}")
    assert key.venice.blocks == 0
    assert most <= 15
    assert passed >= 0.99 * (passed + lost)
    assert all(later - at >= FAILURES_IN for at, later in zip(attacks, attacks[5:], strict=False))


@pytest.mark.parametrize("blocks", [2, pytest.param(50, marks=pytest.mark.torture)])
async def test_a_block_is_waited_out_in_silence_and_ended_by_one_probe(
    seed: int, blocks: int
) -> None:
    """R23: no call for its time, one probe, back within five seconds."""
    key = Key(seed)
    # Calls without a window of their own, so that nothing but the block can stop them.
    for number in range(6):
        key.begin(key.keep_calling(Endpoint.QUOTE, f"user {number}"))
    for _ in range(blocks):
        await key.clock.advance(key.chance.uniform(5, 10))
        key.venice.block()
        began, ends = key.clock.monotonic(), key.venice.blocked_until
        before = key.venice.refused_by_block
        await key.clock.advance(BLOCK + 5.0)
        # Calls that were on their way when it began learn of it; from then on nobody calls.
        news = [at for at, _, _ in key.sent if began < at < ends]
        assert all(at - began < 2.0 for at in news)
        assert key.venice.refused_by_block - before <= 15
        after = [at for at, _, _ in key.sent if ends <= at < ends + 5.0]
        assert len(after) >= 2, "back within five seconds"
        assert after[1] > after[0], "one probe, and the others after its answer"
        assert not key.gate.is_silent
    await key.end()


async def test_another_users_job_waits_one_turn_however_many_one_has() -> None:
    """R24: five hundred waiting jobs of one user."""
    key = Key(24)
    for _ in range(500):
        key.begin(key.keep_calling(Endpoint.QUEUE, "many"))
    await key.clock.advance(1.0)
    start = len(key.sent)
    for user in ("ann", "bob"):
        key.begin(key.keep_calling(Endpoint.QUEUE, user))
    await key.clock.advance(MINUTE + 1.0)
    order = [user for _, _, user in key.sent[start:]]
    await key.end()
    assert {"ann", "bob"} <= set(order[:4])


FAILING: dict[str, Callable[[], httpx.Response | Exception]] = {
    "no connection": lambda: httpx.ConnectError("nobody there"),
    "timeout": lambda: httpx.ReadTimeout("too late"),
    "500": lambda: httpx.Response(500, json={"error": "failed"}),
    "502": lambda: httpx.Response(502),
    "503": lambda: httpx.Response(503, headers={"retry-after": "1"}),
    "429": lambda: httpx.Response(429, headers={"retry-after": "1"}),
}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    roomy = GateLimits(100_000, 100_000, 100_000, 100_000)
    with respx.mock(assert_all_called=False) as network:
        scene = Scene(StillClock(), network, roomy)
        scene.venice.set_rules(RetryRules(), HOLD)
        yield scene
        await scene.client.close()


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("requests", [300, pytest.param(3_000, marks=pytest.mark.torture)])
async def test_a_dead_upstream_costs_a_tenth_more_calls_and_no_deadline(
    scene: Scene, name: str, requests: int
) -> None:
    """R25: every call fails; at most 1.1 calls a request, and nobody waits past their deadline."""
    route = scene.network.post(f"{URL}/video/quote").mock(side_effect=lambda _: _fail(name))
    late = []
    for number in range(requests):
        deadline = scene.clock.monotonic() + 5.0
        asked: Awaitable[Reply] = scene.venice.quote({"model": f"m{number}"}, "ann", deadline)
        task = asyncio.ensure_future(asked)
        while not task.done():
            await scene.clock.advance(0.1)
        late.append(scene.clock.monotonic() - deadline)
        if task.exception() is not None:
            assert isinstance(task.exception(), NoPlace | ModelClosed)
    print(f"R25 {name}: {route.call_count} calls for {requests} requests")
    assert route.call_count <= 1.1 * requests
    assert max(late) <= 0.25


def _fail(name: str) -> httpx.Response:
    found = FAILING[name]()
    if isinstance(found, Exception):
        raise found
    return found
