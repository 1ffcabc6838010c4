"""What an order is before and after it is sent: the request, its client's presence, the answer.

Plain values and small state for `submit.py`; nothing here asks or writes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.core.keys import base62, digest, random_text
from gateway.records import Caller, Job

JOB_ID_CHARACTERS = 22
MOMENT_CHARACTERS = 8
"""Of these: enough for milliseconds until the year 8888."""


class ClientGone(Exception):
    """The client left before its answer; there is nobody to answer."""


class Presence:
    """Whether the client that sent a request is still there."""

    def __init__(self) -> None:
        self._left = asyncio.Event()

    @property
    def is_here(self) -> bool:
        """No disconnect was seen so far."""
        return not self._left.is_set()

    def leave(self) -> None:
        """A disconnect was seen."""
        self._left.set()

    async def gone(self) -> None:
        """Return when the client has left."""
        await self._left.wait()


def new_job_id(at: int) -> str:
    """A job's own id, before Venice has given it one.

    It begins with the moment, so that a ledger's newest jobs lie together; the rest is chance.
    """
    chance = random_text(secrets.token_bytes(32), JOB_ID_CHARACTERS - MOMENT_CHARACTERS)
    return f"job{base62(at, MOMENT_CHARACTERS)}{chance}"


def body_digest(body: Mapping[str, Any]) -> str:
    """The same for equal parsed bodies: a hash stands for prompt and media."""
    return digest(json.dumps(body, sort_keys=True, default=_tell_decimals))


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A queue request as the door read it."""

    caller: Caller
    body: Mapping[str, Any]
    body_digest: str
    presence: Presence
    idempotency_key: str | None = None
    tags: tuple[str, ...] = ()
    force_new: bool = False


def _tell_decimals(value: object) -> dict[str, str]:
    assert isinstance(value, Decimal)
    return {"decimal": str(value)}


@dataclass(frozen=True, slots=True)
class QueueAnswer:
    """An accepted order: the job, and how this answer came to be."""

    job: Job
    is_joined: bool = False
    is_replayed: bool = False
    flight: Flight | None = None
    """The order under way that this answers; None for an answer from before."""


@dataclass(eq=False)
class Flight:
    """One order on its way: from the first check to the delivered answer.

    Until it is committed its client may take it back; after that nothing a client does matters,
    and a twin of it may take the place of a client that left.
    """

    request: QueueRequest
    presence: Presence
    deadline: float
    """Monotonic seconds, for everything from the quote to the answer."""
    job_id: str | None = None
    is_committed: bool = False
    """Sending is durable: the order may reach Venice."""
    task: asyncio.Task[Job] | None = None
    outcome: asyncio.Future[Job] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """The accepted job, or what was refused; known to everybody who waits for this order."""

    @property
    def twin_key(self) -> tuple[str, str]:
        """What makes another request a twin: the same key and an equal body."""
        return (self.request.caller.key.counts_as, self.request.body_digest)
