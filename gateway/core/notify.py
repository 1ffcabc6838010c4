"""What `notify` in the policies says: where notices go, which of them, and how they are written.

A secret is only ever named here, by where it is kept; reading it and sending anything are not done
here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from gateway.core.notation import Name

ADDRESS_CHARACTERS_MAX = 2_048
_KEPT_AT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]{0,127})|file:(/[^\x00-\x1f]{1,1000})")
_KEPT_PATTERN = r"env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:/.+"


class NoticeEvent(StrEnum):
    """What somebody may want to be told."""

    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_IN_DOUBT = "job.in_doubt"
    BUDGET_THRESHOLD = "budget.threshold"
    BUDGET_EXCEEDED = "budget.exceeded"
    BALANCE_LOW = "org.balance_low"
    KEY_BLOCKED = "key.blocked"
    VIDEO_EXPIRING = "video.expiring"
    SPENDING_STOPPED = "spending.stopped"


@dataclass(frozen=True, slots=True)
class KeptAt:
    """Where a secret is kept: in a variable of the environment, or in a file."""

    kind: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def kept_at(value: object) -> KeptAt:
    """`env:NAME` or `file:/PATH`; `ValueError`, without repeating it, for a secret itself."""
    if isinstance(value, KeptAt):
        return value
    match = _KEPT_AT.fullmatch(str(value))
    if match is None:
        raise ValueError(
            "say where it is kept, as env:NAME or file:/PATH; a secret itself must not stand in a "
            "policy file"
        )
    return KeptAt("env", match[1]) if match[1] else KeptAt("file", match[2])


def notice_address(text: str) -> str:
    """An address that notices may be sent to: https, or plain http to this machine.

    `ValueError`, without repeating it, for anything else: some services put a secret into it.
    """
    wrong = ValueError("it is no address like https://example.org/hook, without user or #")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise wrong from None
    host = parts.hostname
    odd = len(text) > ADDRESS_CHARACTERS_MAX or not text.isascii() or not text.isprintable()
    if odd or set(text) & set(" #\\") or "@" in parts.netloc or not host:
        raise wrong
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise ValueError("a notice goes to https://, or to http:// on this machine alone")
    return text


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(value: object) -> str | KeptAt:
    if isinstance(value, KeptAt) or str(value).startswith(("env:", "file:")):
        return kept_at(value)
    return notice_address(str(value))


_SHOWN = PlainSerializer(str, when_used="json")
Secret = Annotated[
    KeptAt,
    BeforeValidator(kept_at),
    _SHOWN,
    WithJsonSchema({"type": "string", "pattern": f"^({_KEPT_PATTERN})$"}),
]
Address = Annotated[
    str | KeptAt,
    BeforeValidator(_address),
    _SHOWN,
    WithJsonSchema({"type": "string", "pattern": f"^(https?://.+|{_KEPT_PATTERN})$"}),
]


class Notify(BaseModel):
    """One place that notices are sent to."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    url: Address
    """Where to send: https://, or env:NAME or file:/PATH where the address is itself a secret."""
    secret: Secret | None = None
    """Where the signing secret is kept: env:NAME or file:/PATH. Needed by the standard format."""
    events: Literal["any"] | Annotated[tuple[NoticeEvent, ...], Field(min_length=1)] = "any"
    """Which events are told."""
    teams: Literal["any"] | Annotated[tuple[Name, ...], Field(min_length=1)] = "any"
    """Whose events are told; what concerns no single team is told only with any."""
    format: Literal["standard", "slack"] = "standard"
    """standard: signed, as standardwebhooks.com has it; slack: a text for an incoming webhook."""

    @model_validator(mode="after")
    def _is_signed(self) -> Self:
        if self.format == "standard" and self.secret is None:
            raise ValueError(
                "the standard format is signed, so `secret` must say where the signing secret is "
                "kept (env:NAME or file:/PATH)"
            )
        return self

    def wants(self, event: NoticeEvent, team: str | None) -> bool:
        """Whether an event of a team, or of none, is told here."""
        is_wanted = self.events == "any" or event in self.events
        return is_wanted and (self.teams == "any" or team in self.teams)
