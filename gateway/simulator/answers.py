"""Answers before they are sent: a status, headers, and a body that may be made while it leaves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.simulator.issues import Issue, detailed_error
from gateway.simulator.json_text import to_json

JSON = "application/json; charset=utf-8"
MP4 = "video/mp4"


class Body(Protocol):
    """Bytes of a known number that come in pieces."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Bytes:
    """A body that is already there."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        yield self.data


@dataclass
class Answer:
    """What a door says. ``delivered`` is told once the whole body was handed over."""

    status: int
    body: Body
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    delivered: Callable[[], None] | None = None
    refused_by: str | None = None


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A JSON answer; decimals keep their digits."""
    return Answer(status, Bytes(to_json(value).encode()), headers=headers or {})


def error_answer(status: int, text: str, code: str | None = None) -> Answer:
    """``StandardError`` of the specification, with a code where Venice has one."""
    body = {"error": text} if code is None else {"code": code, "error": text}
    return json_answer(body, status)


def invalid_answer(issues: list[Issue]) -> Answer:
    """The 400 for a body that breaks a schema or a model's rules."""
    return json_answer(detailed_error(issues), 400)


def media_not_found() -> Answer:
    return error_answer(
        404, "Media could not be found. Request may be invalid, expired, or deleted."
    )


def request_id_invalid() -> Answer:
    return error_answer(400, "Request ID is invalid.")
