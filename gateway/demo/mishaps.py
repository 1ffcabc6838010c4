"""What goes wrong at the simulated Venice: a few orders that each end in their own way, so that
every state of a job can be seen, and with chaos a storm over everybody.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

LOST_ANSWER = "(the answer is lost)"
REFUSED = "(Venice refuses it)"
SLOW = "(Venice takes its time)"
IMPATIENT = "(the client hangs up)"
SLOW_SECONDS = 3
"""Long enough to be seen in `sending`, short enough that an end waits for it."""
HANG_UP_SECONDS = 1.5
STALLED_PROMPT = "a clock without hands (completed, but no video)"
BROKEN_PROMPT = "a torn film (its video is broken each time)"

_REFUSAL = {"error": "The prompt violates the content policy.", "suggested_prompt": "a gondola"}
_STORM = {"error": "Inference processing failed"}
_TOO_MANY = {"error": "Rate limit exceeded"}


def scripted() -> list[dict[str, Any]]:
    """The rules for single orders, found by their prompts."""
    return [
        _struck("queue", {"drop": "reset"}, {"prompt_contains": LOST_ANSWER}, before="answer"),
        _struck("queue", {"status": 422, "body": _REFUSAL}, {"prompt_contains": REFUSED}),
        _struck("queue", {"delay_seconds": SLOW_SECONDS}, {"prompt_contains": SLOW}),
        _ending("fail_refunded_nested", "(fails, refunded)"),
        _ending("fail_billed", "(fails, billed)"),
        _ending("lost", "(vanishes)"),
        _struck("retrieve", {"status": 200, "body": {"status": "COMPLETED"}}, _by(STALLED_PROMPT)),
        _struck("retrieve", {"corrupt": "missing_moov"}, _by(BROKEN_PROMPT)),
    ]


def storm() -> list[dict[str, Any]]:
    """The rules of chaos: each strikes a share of all calls."""
    return [
        _struck(
            "queue",
            {"delay_seconds": HANG_UP_SECONDS},
            {"prompt_contains": IMPATIENT},
            before="answer",
        ),
        _struck("queue", {"drop": "reset"}, before="answer", probability=0.10),
        _struck("queue", {"status": 500, "body": _STORM}, probability=0.10),
        _struck(
            "queue",
            {"status": 429, "body": _TOO_MANY, "headers": {"Retry-After": "1"}},
            probability=0.10,
        ),
        _struck("retrieve", {"corrupt": "truncated"}, probability=0.15),
        _struck("retrieve", {"drop_after_bytes": 20_000}, {"answer": "video"}, probability=0.15),
        _struck("retrieve", {"status": 500, "body": _STORM}, probability=0.10),
        _struck("quote", {"status": 500, "body": _STORM}, probability=0.05),
    ]


def _ending(outcome: str, mark: str) -> dict[str, Any]:
    return {"endpoint": "queue", "match": {"prompt_contains": mark}, "outcome": outcome}


def _struck(
    endpoint: str, action: dict[str, Any], match: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {"endpoint": endpoint, "action": action, "match": match or {}, **more}


def _by(prompt: str) -> dict[str, Any]:
    return {"prompt_sha256": sha256(prompt.encode()).hexdigest()}
