"""Venice as the verbs see it: every call passes breaker and gate, and is sent again only where the
retry table says so.

It decides nothing about jobs or money, and never cuts off an order that is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlencode

from gateway.core.blame import Blame
from gateway.core.errors import Draining
from gateway.core.retry import (
    Endpoint,
    GiveUp,
    Outcome,
    RetryDecision,
    RetryRules,
    RetryShare,
    decide,
)
from gateway.ports import Clock, LedgerFailure, ModelClosed, NoPlace, Reply, VideoReply
from gateway.upstream.admission import Admission, outcome_of
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.gate import Gate, Turn

GATEWAY_USER = ""
"""Takes turns for the gateway's own questions; no person can have an empty name."""
DOWNLOADS_MAX = 8
"""Links followed at a time, above what the policy lets be fetched: a last bound on sockets."""

USERS_FAULT = frozenset({400, 409, 413, 415, 422})
"""Refusals that the request itself brought on: what it asks for, and nothing about the key."""
USERS_FAULTS = {
    Endpoint.QUOTE: USERS_FAULT,
    Endpoint.QUEUE: USERS_FAULT,
    Endpoint.RETRIEVE: frozenset({422}),
}
"""What counts against the user: the rest is asked in words of the gateway's own, except that a
finished job may turn out to break Venice's rules."""

PATHS = {
    Endpoint.QUOTE: ("POST", "/video/quote"),
    Endpoint.QUEUE: ("POST", "/video/queue"),
    Endpoint.COMPLETE: ("POST", "/video/complete"),
    Endpoint.MODELS: ("GET", "/models?type=video"),
    Endpoint.BALANCE: ("GET", "/billing/balance"),
    Endpoint.RATE_LIMITS: ("GET", "/api_keys/rate_limits"),
    Endpoint.USAGE: ("GET", "/billing/usage-history"),
}
"""The calls whose answer is JSON; a retrieve may be a video, a download always is one."""


class Observer(Protocol):
    """Counts what happens on the way to Venice."""

    def called(self, endpoint: Endpoint, outcome: Outcome) -> None:
        """One attempt is back."""

    def retried(self, endpoint: Endpoint, reason: Outcome) -> None:
        """One more attempt is about to be made."""


class _Attempt:
    """One call under way. `learn` what came of it as soon as the status is known."""

    def __init__(self, turn: Turn, note: Callable[[Reply | VideoReply], None]) -> None:
        self._turn = turn
        self._note = note

    def depart(self) -> None:
        """From here on the call may reach Venice."""
        self._turn.depart()

    async def learn(self, answer: Reply | VideoReply) -> None:
        """Count the outcome; the place at the gate is free again, whatever a body still takes."""
        self._note(answer)
        wait = answer.stated_wait if isinstance(answer, Reply) else None
        await self._turn.finish(outcome_of(answer), wait)


class Venice:
    """The `Upstream` port over one gate and one client."""

    def __init__(
        self,
        client: VeniceClient,
        gate: Gate,
        links: Links,
        clock: Clock,
        observer: Observer,
        *,
        rules: RetryRules,
        hold: float,
        heed: Callable[[Endpoint, Mapping[str, str]], None] | None = None,
    ) -> None:
        """`hold` is the longest wait at the gate, in seconds; `heed` is told the headers of each
        good answer."""
        self._client = client
        self._gate = gate
        self._links = links
        self._clock = clock
        self._observer = observer
        self._heed = heed
        self._admission = Admission(clock)
        self._downloads = asyncio.Semaphore(DOWNLOADS_MAX)
        self._share = RetryShare()
        self._blame = Blame()
        self.set_rules(rules, hold)

    def set_rules(self, rules: RetryRules, hold: float) -> None:
        """Follow a changed policy from the next call on."""
        self._rules = rules
        self._hold = hold
        self._share.percent = rules.share_percent

    def breaker_is_open(self, endpoint: Endpoint) -> bool:
        """Whether calls to an endpoint are held back because it failed too often in a row."""
        return self._admission.breaker_is_open(endpoint)

    @property
    def closed_models(self) -> frozenset[str]:
        """Models that Venice lately refused the key for."""
        return self._admission.closed_models

    def take_new_key(self) -> None:
        """The key is another one: ask again what was refused to the last one."""
        self._admission.take_new_key()

    def user_wait(self, user: str) -> float:
        """Seconds until a user who was refused too often may order again; else 0."""
        return self._blame.wait(user, self._gate.failures_per_user, self._clock.monotonic())

    async def quote(self, body: Mapping[str, Any], user: str, deadline: float) -> Reply:
        """Ask for a price."""
        return await self._ask(Endpoint.QUOTE, body, user, deadline)

    async def queue(
        self,
        body: Mapping[str, Any],
        user: str,
        deadline: float,
        before_sending: Callable[[], Awaitable[None]],
    ) -> Reply:
        """Order a video. The deadline ends waiting, never an order that may have arrived."""
        return await self._ask(Endpoint.QUEUE, body, user, deadline, before_sending)

    async def complete(
        self, model: str, queue_id: str, user: str, bought_with: str | None = None
    ) -> Reply:
        """Have Venice delete its copy."""
        body = {"model": model, "queue_id": queue_id}
        deadline = self._clock.monotonic() + self._hold
        return await self._ask(Endpoint.COMPLETE, body, user, deadline, bought_with=bought_with)

    async def get(self, endpoint: Endpoint, deadline: float) -> Reply:
        """Ask a free question: models, balance, rate limits."""
        return await self._ask(endpoint, None, GATEWAY_USER, deadline)

    async def usage(self, query: Mapping[str, str], deadline: float) -> Reply:
        """Ask for a page of the account's bill."""
        return await self._ask(Endpoint.USAGE, None, GATEWAY_USER, deadline, query=query)

    @asynccontextmanager
    async def retrieve(
        self, model: str, queue_id: str, user: str, bought_with: str | None = None
    ) -> AsyncIterator[Reply | VideoReply]:
        """Ask for a job, once: the tracker's schedule is the retry."""
        deadline = self._clock.monotonic() + self._hold
        async with self._attempt(Endpoint.RETRIEVE, user, deadline) as attempt:
            attempt.depart()
            async with self._client.open_retrieve(model, queue_id, bought_with) as answer:
                await attempt.learn(answer)
                yield answer

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Reply | VideoReply]:
        """Follow Venice's link, once; it counts against none of the key's limits."""
        destination = await self._links.check(url)
        async with self._downloads:
            if self._gate.is_closed:
                raise Draining
            async with self._client.open_link(destination) as answer:
                self._observer.called(Endpoint.DOWNLOAD, outcome_of(answer))
                yield answer

    async def revoke(self, url: str) -> Reply:
        """Delete what a link points to."""
        answer = await self._client.delete_link(await self._links.check(url))
        self._observer.called(Endpoint.DOWNLOAD, answer.outcome)
        return answer

    async def _ask(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any] | None,
        user: str,
        deadline: float,
        before_sending: Callable[[], Awaitable[None]] | None = None,
        *,
        bought_with: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        """Call until the retry table is content; the last reply where no other attempt fits."""
        self._share.count_call(self._clock.monotonic())
        asked = urlencode(query or {})
        reply = await self._send(
            endpoint, body, user, deadline, before_sending, bought_with=bought_with, query=asked
        )
        made = 1
        while True:
            decision = self._decide(endpoint, reply, made, deadline)
            if isinstance(decision, GiveUp) or not await self._gate.rest(decision.after):
                return reply
            self._observer.retried(endpoint, decision.reason)
            try:
                reply = await self._send(
                    endpoint, body, user, deadline, bought_with=bought_with, query=asked
                )
            except (NoPlace, ModelClosed, Draining, LedgerFailure):
                # Something was sent already, and what came of it is known.
                return reply
            made += 1

    def _decide(
        self, endpoint: Endpoint, reply: Reply, made: int, deadline: float
    ) -> RetryDecision:
        now = self._clock.monotonic()
        decision = decide(
            endpoint,
            reply.outcome,
            attempt=made,
            stated_wait=reply.stated_wait,
            time_left=deadline - now,
            jitter=self._clock.random(),
            rules=self._rules,
        )
        if isinstance(decision, GiveUp) or self._share.take(now):
            return decision
        return GiveUp(reply.outcome)

    async def _send(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any] | None,
        user: str,
        deadline: float,
        before_sending: Callable[[], Awaitable[None]] | None = None,
        *,
        bought_with: str | None,
        query: str,
    ) -> Reply:
        """One attempt. Only an order outlives the deadline: cutting it off would be a doubt."""
        method, path = PATHS[endpoint]
        path = f"{path}?{query}" if query else path
        async with self._attempt(endpoint, user, deadline, body) as attempt:
            if before_sending is not None:
                await before_sending()
            left = deadline - self._clock.monotonic()
            seconds = None if endpoint is Endpoint.QUEUE else left
            attempt.depart()
            reply = await self._client.send(
                endpoint, method, path, body, seconds=seconds, bought_with=bought_with
            )
            await attempt.learn(reply)
            return reply

    @asynccontextmanager
    async def _attempt(
        self,
        endpoint: Endpoint,
        user: str,
        deadline: float,
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[_Attempt]:
        """Past breaker and closed models and through the gate; `NoPlace` or `ModelClosed`."""
        with self._admission.admitted(endpoint, body) as note:

            def learn(answer: Reply | VideoReply) -> None:
                self._observer.called(endpoint, outcome_of(answer))
                note(answer)
                self._learn(endpoint, user, answer)

            hold_until = min(deadline, self._clock.monotonic() + self._hold)
            async with self._gate.turn(endpoint, user, hold_until) as turn:
                yield _Attempt(turn, learn)

    def _learn(self, endpoint: Endpoint, user: str, answer: Reply | VideoReply) -> None:
        """Whose fault it was, and what the headers tell."""
        if not isinstance(answer, Reply):
            return
        if answer.status in USERS_FAULTS.get(endpoint, frozenset()):
            self._blame.add(user, self._clock.monotonic())
        if self._heed is not None and answer.is_ok:
            self._heed(endpoint, answer.headers)
