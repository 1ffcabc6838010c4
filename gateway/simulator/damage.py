"""What a fault rule makes of an answer: another one, a changed one, or bytes that lie."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from gateway.simulator.answers import Answer, Bytes
from gateway.simulator.corruption import corrupted
from gateway.simulator.delivery import Pace
from gateway.simulator.json_text import from_json, to_json
from gateway.simulator.rules import Action

DEFAULT_BODY = b'{"error":"Inference processing failed"}'


@dataclass(frozen=True)
class _Garbage:
    """Noise of a given length, always the same."""

    size: int

    def chunks(self) -> Iterator[bytes]:
        blocks = (hashlib.sha512(str(number).encode()).digest() for number in count())
        yield b"".join(islice(blocks, self.size // 64 + 1))[: self.size]


def pace_of(action: Action | None) -> Pace:
    """How the body of the answer leaves under an action."""
    if action is None:
        return Pace()
    return Pace(
        bytes_per_second=action.slow_bytes_per_second,
        stall_after_bytes=action.stall_after_bytes,
        stall_seconds=action.stall_seconds,
        drop_after_bytes=action.drop_after_bytes,
    )


def damaged(answer: Answer | None, action: Action) -> Answer:
    """What is sent under an action: a door's answer changed, or one in its place.

    ``answer`` is None where no door was asked. The job behind an answer is untouched.
    """
    if answer is None or action.status is not None:
        answer = Answer(action.status or 500, Bytes(DEFAULT_BODY))
    whole = answer.body
    answer.headers.update(action.headers or {})
    answer.content_type = action.content_type or answer.content_type
    if action.body is not None:
        answer.body = Bytes(action.body)
    if action.patch is not None:
        answer.body = Bytes(_patched(_data(answer), action.patch))
    if action.corrupt is not None:
        answer.body = Bytes(corrupted(action.corrupt, _data(answer)))
    if action.truncate is not None:
        answer.body = Bytes(_data(answer)[: action.truncate])
    if action.garbage:
        answer.body = _Garbage(answer.body.size)
    if answer.body is not whole:
        answer.delivered = None
    return answer


def _data(answer: Answer) -> bytes:
    return b"".join(answer.body.chunks())


def _patched(data: bytes, patch: Any) -> bytes:
    # As RFC 7396 at the top level: null removes.
    value = {**from_json(data), **patch}
    return to_json({name: value[name] for name in value if value[name] is not None}).encode()
