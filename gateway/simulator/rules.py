"""Fault rules as they are written in JSON, checked to the last field; a typo is refused."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from gateway.simulator.corruption import CORRUPTIONS
from gateway.simulator.jobs import COMPLETED, OUTCOMES, Fate
from gateway.simulator.json_text import to_json

ENDPOINTS = frozenset(
    {
        "quote", "queue", "retrieve", "complete", "models", "rate_limits", "balance", "usage",
        "download", "*",
    }
)  # fmt: skip
BEFORE_ACCEPT, BEFORE_ANSWER = "accept", "answer"
VIDEO, OTHER = "video", "other"
DROPS = (True, "reset")


_NUMBER, _TEXT, _COUNT, _OBJECT = (int, Decimal), (str,), (int,), (dict,)
_RULE_FIELDS = {
    "endpoint": _TEXT, "match": _OBJECT, "skip": _COUNT, "times": (int, type(None)),
    "probability": _NUMBER, "before": _TEXT, "action": _OBJECT, "outcome": (str, dict),
}  # fmt: skip
_MATCH_FIELDS = dict.fromkeys(
    ("model", "prompt_contains", "prompt_sha256", "queue_id", "key", "answer"), _TEXT
)
_ACTION_FIELDS = {
    "status": _COUNT, "headers": _OBJECT, "body": (object,), "text": _TEXT, "body_base64": _TEXT,
    "patch": _OBJECT, "content_type": _TEXT, "delay_seconds": _NUMBER, "drop": (bool, str),
    "drop_after_bytes": _COUNT, "truncate": _COUNT, "garbage": (bool,), "corrupt": _TEXT,
    "slow_bytes_per_second": _NUMBER, "stall_after_bytes": _COUNT, "stall_seconds": _NUMBER,
}  # fmt: skip
_OUTCOME_FIELDS = {
    "kind": _TEXT, "execution_seconds": _NUMBER, "charge_usd": _TEXT, "video_bytes_min": _COUNT,
}  # fmt: skip


class RuleRefused(ValueError):
    """A fault rule that makes no sense, with the reason."""


@dataclass(frozen=True)
class Match:
    """Which calls a rule is about; what is None is not looked at.

    ``key`` is the key's name in the truth ledger. ``answer`` is what the door said: ``video`` or
    ``other``; the prompt's text is known to queue alone, its hash to every call about the job.
    """

    model: str | None = None
    prompt_contains: str | None = None
    prompt_sha256: str | None = None
    queue_id: str | None = None
    key: str | None = None
    answer: str | None = None


@dataclass(frozen=True)
class Action:
    """What happens to the answer; what is left out is left alone.

    ``status`` makes another answer, with ``body`` or a plain error. ``patch`` changes names of a
    JSON answer, None removes one. ``truncate`` is the number of bytes kept, its length told
    truly; ``drop_after_bytes`` promises the whole body and cuts the connection. ``drop`` cuts it
    before any byte. ``stall_seconds`` is one pause after ``stall_after_bytes`` of the body.
    """

    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    patch: Mapping[str, Any] | None = None
    content_type: str | None = None
    delay_seconds: float = 0.0
    drop: bool | str = False
    drop_after_bytes: int | None = None
    truncate: int | None = None
    garbage: bool = False
    corrupt: str | None = None
    slow_bytes_per_second: float | None = None
    stall_after_bytes: int = 0
    stall_seconds: float = 0.0

    @property
    def replaces_answer(self) -> bool:
        """Whether the action can stand in for an answer that is never made."""
        return self.status is not None or bool(self.drop)

    @property
    def needs_answer(self) -> bool:
        """Whether the action only makes sense on an answer of a door."""
        if self.replaces_answer:
            return False
        changed = (self.body, self.content_type, self.patch, self.drop_after_bytes, self.truncate,
                   self.corrupt, self.slow_bytes_per_second)  # fmt: skip
        given = any(value is not None for value in changed)
        return bool(given or self.garbage or self.stall_seconds or self.headers)


@dataclass(frozen=True)
class Rule:
    """One line of the fault plan."""

    endpoint: str
    match: Match
    skip: int
    times: int | None
    probability: float
    before: str
    action: Action | None
    fate: Fate | None


def parse_rule(value: Any) -> Rule:
    """A rule from its JSON form. Raises RuleRefused with the reason."""
    rule = _fields(value, "rule", _RULE_FIELDS)
    endpoint = rule.get("endpoint", "*")
    if endpoint not in ENDPOINTS:
        raise RuleRefused(f"endpoint must be one of {', '.join(sorted(ENDPOINTS))}")
    action = _parse_action(rule["action"]) if "action" in rule else None
    fate = parse_fate(rule["outcome"]) if "outcome" in rule else None
    if (action is None) == (fate is None):
        raise RuleRefused("a rule needs either an action or an outcome")
    if fate is not None and endpoint not in ("queue", "*"):
        raise RuleRefused("an outcome belongs to endpoint queue")
    match = _parse_match(rule.get("match", {}), action)
    return Rule(
        endpoint="queue" if fate is not None else endpoint,
        match=match,
        skip=rule.get("skip", 0),
        times=rule.get("times"),
        probability=float(rule.get("probability", 1)),
        before=_before(rule, action, match),
        action=action,
        fate=fate,
    )


def parse_fate(value: Any) -> Fate:
    """An outcome: its name, or an object with ``kind`` and what goes with it."""
    if isinstance(value, str):
        value = {"kind": value}
    given = _fields(value, "outcome", _OUTCOME_FIELDS)
    kind = given.get("kind", COMPLETED)
    seconds = given.get("execution_seconds")
    if kind == "ready_now":
        kind, seconds = COMPLETED, 0
    if kind not in OUTCOMES:
        raise RuleRefused(f"outcome must be one of {', '.join(sorted(OUTCOMES))} or ready_now")
    charge = given.get("charge_usd")
    return Fate(
        outcome=kind,
        execution_seconds=None if seconds is None else float(seconds),
        charge_usd=None if charge is None else Decimal(charge),
        video_bytes_min=given.get("video_bytes_min"),
    )


def _parse_match(value: Any, action: Action | None) -> Match:
    given = _fields(value, "match", _MATCH_FIELDS)
    if action is not None and action.corrupt is not None:
        # Polls before a video is ready must not use up what is meant for the video.
        given = {"answer": VIDEO, **given}
    if given.get("answer", VIDEO) not in (VIDEO, OTHER):
        raise RuleRefused(f"match.answer must be {VIDEO} or {OTHER}")
    return Match(**given)


def _parse_action(value: Any) -> Action:
    given = _fields(value, "action", _ACTION_FIELDS)
    if "corrupt" in given and given["corrupt"] not in CORRUPTIONS:
        raise RuleRefused(f"corrupt must be one of {', '.join(sorted(CORRUPTIONS))}")
    if given.get("drop", False) not in (*DROPS, False):
        raise RuleRefused('drop must be true or "reset"')
    sources = [name for name in ("body", "text", "body_base64") if name in given]
    if len(sources) > 1:
        raise RuleRefused("only one of body, text and body_base64")
    if "status" in given and {"patch", "corrupt"} & set(given):
        raise RuleRefused("patch and corrupt change a real answer, so they go without status")
    known = {field.name for field in fields(Action)} - {"body"}
    plain = {name: given[name] for name in given if name in known}
    if "headers" in plain:
        plain["headers"] = {name: str(value) for name, value in plain["headers"].items()}
    for name in ("delay_seconds", "slow_bytes_per_second", "stall_seconds"):
        if name in plain:
            plain[name] = float(plain[name])
    return Action(body=_body_bytes(given), **plain)


def _body_bytes(given: dict[str, Any]) -> bytes | None:
    if "body" in given:
        return to_json(given["body"]).encode()
    if "text" in given:
        return str(given["text"]).encode()
    if "body_base64" in given:
        try:
            return base64.b64decode(given["body_base64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise RuleRefused("body_base64 is no base64") from error
    return None


def _before(rule: dict[str, Any], action: Action | None, match: Match) -> str:
    needs_answer = match.answer is not None or (action is not None and action.needs_answer)
    before: str = rule.get("before", BEFORE_ANSWER if needs_answer else BEFORE_ACCEPT)
    if before not in (BEFORE_ACCEPT, BEFORE_ANSWER):
        raise RuleRefused('before must be "accept" or "answer"')
    if before == BEFORE_ACCEPT and needs_answer:
        raise RuleRefused('this rule is about an answer, so before must be "answer"')
    return before


def _fields(value: Any, where: str, known: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RuleRefused(f"{where} must be an object")
    for name, given in value.items():
        if name not in known:
            raise RuleRefused(f"{where} has no field {name}; known: {', '.join(known)}")
        is_stray_bool = isinstance(given, bool) and not {bool, object} & set(known[name])
        if is_stray_bool or not isinstance(given, known[name]):
            raise RuleRefused(f"{where}.{name} has the wrong type")
    return value
