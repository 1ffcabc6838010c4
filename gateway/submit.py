"""The journey `ask`: idempotency, twin, policy, quote, reserve, send, attach.

An order reaches Venice at most once per intent, and only with its money held. What Venice may
have accepted is never sent again; it is in doubt, and stays paid for, until evidence comes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.book import JobBook
from gateway.core.errors import (
    GatewayError,
    IdempotencyInProgress,
    IdempotencyMismatch,
    OutcomeUnknown,
)
from gateway.core.job import IllegalEvent, State
from gateway.orders import ClientGone, Flight, Presence, QueueAnswer, QueueRequest
from gateway.ports import Clock, Ledger
from gateway.records import Job
from gateway.sending import Sending

TWIN_MS = 10 * 60_000
"""How long a lost answer waits for its client to come back."""
IDEMPOTENCY_MS = 24 * 3_600_000
"""How long an Idempotency-Key is remembered, and an answer that came out of doubt: whoever was told
to wait for it comes again hours later."""
NEWS_SECONDS = 0.02
"""A copy of an order may overtake the news that the client of the first one has left."""
UNWRITTEN_SECONDS = 2.0
"""What a stop waits for a full disk to take what is still to be written."""
ANSWER_SECONDS = 50.0
"""From the first byte to the answer: below the 60 s after which the strictest client gives up."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waits:
    """How long requests wait, in seconds."""

    answer: float = ANSWER_SECONDS
    hold: float = 25.0


class Orders:
    """Every order of this process, from request to delivered answer."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        book: JobBook,
        sending: Sending,
        waits: Callable[[], Waits],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._sending = sending
        self._waits = waits
        self._flights: dict[tuple[str, str], list[Flight]] = defaultdict(list)
        self._by_idempotency_key: dict[tuple[str, str], Flight] = {}
        """Running orders by user and key."""
        self._claimed: set[str] = set()
        """Jobs whose owed answer is being given to a twin right now."""

    @property
    def in_flight(self) -> int:
        """Orders that are not answered yet."""
        return sum(len(flights) for flights in self._flights.values())

    async def finish(self, seconds: float) -> None:
        """Return when every order that is under way has its outcome, or after so many seconds."""
        outcomes = [f.outcome for flights in self._flights.values() for f in flights]
        if outcomes:
            await asyncio.wait(outcomes, timeout=seconds)
        await self._sending.outcomes.settle_down(UNWRITTEN_SECONDS)

    def job_ids_in_flight(self) -> set[str]:
        """The jobs that an order of this process is still working on."""
        flying = {f.job_id for flights in self._flights.values() for f in flights if f.job_id}
        return flying | self._sending.outcomes.unwritten

    async def submit(self, request: QueueRequest) -> QueueAnswer:
        """Order a video, once; raises what is to be told, or `ClientGone`."""
        if request.idempotency_key is not None:
            return await self._submit_idempotent(request, request.idempotency_key)
        if not request.force_new:
            joined = await self._join_twin(request)
            if joined is not None:
                return joined
        flight = self._start(request)
        return QueueAnswer(await self._await_answer(flight, flight.presence), flight=flight)

    # Idempotency-Key

    async def _submit_idempotent(self, request: QueueRequest, key: str) -> QueueAnswer:
        whose = (request.caller.user.name, key)
        until = self._clock.monotonic() + self._waits().hold
        while flight := self._by_idempotency_key.get(whose):
            if flight.request.body_digest != request.body_digest:
                raise IdempotencyMismatch
            job = await self._await_other(flight, until, request.presence)
            if job is not None:
                return QueueAnswer(job, is_replayed=True)
        flight = self._start(request, whose)
        job = await self._await_answer(flight, flight.presence)
        # The order's own job, or that of an earlier request with the same key.
        return QueueAnswer(job, is_replayed=job.id != flight.job_id, flight=flight)

    async def _await_other(self, flight: Flight, until: float, presence: Presence) -> Job | None:
        """The outcome of the order this one repeats; None where its client took it back."""
        left = until - self._clock.monotonic()
        await _first_of(flight, presence, left)
        if not presence.is_here:
            raise ClientGone
        if not flight.outcome.done():
            raise IdempotencyInProgress
        return None if flight.outcome.cancelled() else flight.outcome.result()

    async def _earlier(self, request: QueueRequest) -> Job | None:
        """The job that an Idempotency-Key is bound to from before this process's memory."""
        key = request.idempotency_key
        if key is None:
            return None
        since = self._clock.now() - IDEMPOTENCY_MS
        job = await self._ledger.idempotent(request.caller.user.name, key, since)
        if job is None:
            return None
        if job.body_digest != request.body_digest:
            raise IdempotencyMismatch
        return _answered(job)

    # the twin shield

    async def _join_twin(self, request: QueueRequest) -> QueueAnswer | None:
        """The answer of an identical request whose client left before having it, if any."""
        twin_key = (request.caller.key.counts_as, request.body_digest)
        if any(flight.presence.is_here for flight in self._flights.get(twin_key, ())):
            await self._clock.sleep(NEWS_SECONDS)
        for flight in self._flights.get(twin_key, ()):
            if flight.is_committed and not flight.presence.is_here:
                flight.presence = request.presence
                job = await self._await_answer(flight, request.presence)
                return QueueAnswer(job, is_joined=True, flight=flight)
        now = self._clock.now()
        for job in await self._ledger.twins(*twin_key, now - TWIN_MS, now - IDEMPOTENCY_MS):
            if self._is_owed_to_nobody_here(job):
                answered = _answered(job)
                # Nobody else gets what is owed while this twin is being given it.
                self._claimed.add(job.id)
                return QueueAnswer(answered, is_joined=True)
        return None

    def _is_owed_to_nobody_here(self, job: Job) -> bool:
        """Whether a job as read is still an answer that a client went away from.

        Asked after the read: orders of this process have moved on meanwhile.
        """
        if job.state is State.RESERVED or job.id in self._claimed:
            return False
        known = self._book.known(job.id)
        is_owed = known is None or known.answer_owed
        return is_owed and job.id not in self._in_memory()

    def _in_memory(self) -> set[str | None]:
        return {flight.job_id for flights in self._flights.values() for flight in flights}

    # one order

    def _start(self, request: QueueRequest, whose: tuple[str, str] | None = None) -> Flight:
        deadline = self._clock.monotonic() + self._waits().answer
        flight = Flight(request, request.presence, deadline)
        self._flights[flight.twin_key].append(flight)
        if whose is not None:
            self._by_idempotency_key[whose] = flight
        flight.task = asyncio.create_task(self._run(flight))
        flight.task.add_done_callback(lambda task: self._ended(flight, whose, task))
        return flight

    async def _run(self, flight: Flight) -> Job:
        earlier = await self._earlier(flight.request)
        return earlier or await self._sending.send(flight)

    def _ended(
        self, flight: Flight, whose: tuple[str, str] | None, task: asyncio.Task[Job]
    ) -> None:
        if whose is not None and self._by_idempotency_key.get(whose) is flight:
            del self._by_idempotency_key[whose]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, GatewayError | ClientGone):
            _log.error("order.failed", job=flight.job_id, exc_info=error)
        if flight.outcome.done():
            return
        if task.cancelled() or isinstance(error, ClientGone):
            # It was taken back: to whoever waits for it, it never was.
            flight.outcome.cancel()
        elif error is not None:
            flight.outcome.set_exception(error)
            # Read, so that a refusal whose client has left is not reported as lost.
            flight.outcome.exception()
        else:
            flight.outcome.set_result(task.result())
        if task.cancelled() or error is not None or not flight.presence.is_here:
            # Nobody is about to be answered: what is owed stands in the ledger.
            self._forget(flight)

    async def _await_answer(self, flight: Flight, presence: Presence) -> Job:
        """The outcome for the client that is there now, within the order's deadline."""
        try:
            await _first_of(flight, presence, flight.deadline - self._clock.monotonic())
        except asyncio.CancelledError:
            self._take_back(flight)
            raise
        if flight.outcome.done() and not flight.outcome.cancelled():
            return flight.outcome.result()
        if not presence.is_here:
            self._take_back(flight)
            raise ClientGone
        return await self._give_up(flight)

    def _take_back(self, flight: Flight) -> None:
        """The client left: before the order is committed it is as if it never was."""
        if not flight.is_committed and flight.task is not None:
            flight.task.cancel()

    async def _give_up(self, flight: Flight) -> Job:
        """No answer in time: in doubt, unless it arrives in this very moment."""
        if not flight.is_committed or flight.job_id is None:
            # It will not be sent any more; its refusal is on its way.
            return await asyncio.shield(flight.outcome)
        try:
            await self._sending.outcomes.lose_answer(flight.job_id, "no answer from Venice in time")
        except IllegalEvent:
            return await asyncio.shield(flight.outcome)
        error = OutcomeUnknown(flight.job_id)
        if not flight.outcome.done():
            flight.outcome.set_exception(error)
            flight.outcome.exception()
        self._forget(flight)
        raise error

    async def delivered(self, answer: QueueAnswer, whole: bool) -> None:
        """An answer was handed to the transport, or its client had left before it was.

        Until the ledger has noted a delivery the order stays in memory, so that a second request
        cannot be taken for a twin of an answered one.
        """
        try:
            if whole:
                await self._sending.outcomes.note_delivered(answer.job.id)
        finally:
            self._claimed.discard(answer.job.id)
            if answer.flight is not None:
                self._forget(answer.flight)

    def _forget(self, flight: Flight) -> None:
        flights = self._flights.get(flight.twin_key, [])
        if flight in flights:
            flights.remove(flight)
        if not flights:
            self._flights.pop(flight.twin_key, None)


async def _first_of(flight: Flight, presence: Presence, seconds: float) -> None:
    """Return when the order has an outcome, its client has left, or time is up."""
    gone = asyncio.ensure_future(presence.gone())
    waited: set[asyncio.Future[Any]] = {flight.outcome, gone}
    try:
        await asyncio.wait(waited, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()


def _answered(job: Job) -> Job:
    """A job from before, as an answer: with its queue_id, or the same doubt again.

    One that is still being sent, though no order here is sending it, is in doubt as well.
    """
    if job.state in (State.IN_DOUBT, State.SETTLED_IN_DOUBT, State.SENDING):
        raise OutcomeUnknown(job.id)
    if job.queue_id is None:
        raise IdempotencyInProgress
    return job
