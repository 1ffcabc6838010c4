"""What stands before each call to Venice: the endpoint's breaker, and the closed models.

It lets pass or raises, and learns from the answer; it sends nothing and never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from gateway.core.retry import Endpoint, Outcome
from gateway.ports import Clock, ModelClosed, NoPlace, Reply, VideoReply
from gateway.upstream.breaker import Breaker, Permission
from gateway.upstream.closures import Closures

BUYING = frozenset({Endpoint.QUOTE, Endpoint.QUEUE})
"""Calls that a refused model is closed to. What is bought already is asked for all the same."""

_log = structlog.get_logger(__name__)

Note = Callable[[Reply | VideoReply], None]


class Admission:
    """The breakers of all endpoints, and the models that Venice lately refused the key for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers = {endpoint: Breaker() for endpoint in Endpoint}
        self._closures = Closures()

    def breaker_is_open(self, endpoint: Endpoint) -> bool:
        """Whether calls to an endpoint are held back because it failed too often in a row."""
        return self._breakers[endpoint].is_open

    @property
    def closed_models(self) -> frozenset[str]:
        """Models that Venice lately refused the key for."""
        return self._closures.models

    def take_new_key(self) -> None:
        """The key is another one: ask again what was refused to the last one."""
        self._closures.open_all()

    @contextmanager
    def admitted(self, endpoint: Endpoint, body: Mapping[str, Any] | None) -> Iterator[Note]:
        """Let one call pass, giving what is to be told its answer; `ModelClosed` or `NoPlace`."""
        model = str(body.get("model")) if body and endpoint in BUYING else None
        with self._past_model(model) as note_model, self._past_breaker(endpoint) as note_endpoint:

            def note(answer: Reply | VideoReply) -> None:
                note_endpoint(answer)
                note_model(answer)

            yield note

    @contextmanager
    def _past_breaker(self, endpoint: Endpoint) -> Iterator[Note]:
        breaker = self._breakers[endpoint]
        permission = breaker.enter(self._clock.monotonic())
        if permission is None:
            raise NoPlace(f"{endpoint} failed too often in a row and is left alone for a moment")
        is_over = False

        def note(answer: Reply | VideoReply) -> None:
            nonlocal is_over
            is_over = True
            breaker.leave(permission, outcome_of(answer), self._clock.monotonic())

        try:
            yield note
        finally:
            if not is_over:
                breaker.leave(permission, None, self._clock.monotonic())

    @contextmanager
    def _past_model(self, model: str | None) -> Iterator[Note]:
        if model is None:
            yield lambda _answer: None
            return
        permission = self._closures.enter(model, self._clock.monotonic())
        if permission is None:
            raise ModelClosed(f"Venice refused the key for {model} a moment ago")
        is_over = False

        def note(answer: Reply | VideoReply) -> None:
            nonlocal is_over
            is_over = True
            self._learn(model, permission, answer)

        try:
            yield note
        finally:
            if not is_over:
                self._closures.leave(model, permission, self._clock.monotonic())

    def _learn(self, model: str, permission: Permission, answer: Reply | VideoReply) -> None:
        """What an answer says of a model."""
        was_closed = model in self._closures.models
        status = answer.status if isinstance(answer, Reply) else None
        now, outcome = self._clock.monotonic(), outcome_of(answer)
        self._closures.leave(model, permission, now, status=status, outcome=outcome)
        if (is_closed := model in self._closures.models) != was_closed:
            event = "model.closed" if is_closed else "model.opened"
            _log.warning(event, model=model, status=status)


def outcome_of(answer: Reply | VideoReply) -> Outcome:
    """What became of a call; a video is a good answer."""
    return answer.outcome if isinstance(answer, Reply) else Outcome.OK
