"""What can go wrong, named by what happened. `api/respond.py` alone knows which status each gets.

Every message is for the person who reads it: what happened, whose limit it was, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.budget import Standing
from gateway.core.money import Money


class GatewayError(Exception):
    """Base of all refusals and failures that a caller is told about."""

    @property
    def message(self) -> str:
        """The sentence shown to the caller."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a request: where (`("prompt",)`) and what, in a sentence."""

    path: tuple[str | int, ...]
    message: str
    code: str = "custom"


class InvalidRequest(GatewayError):
    """The request fails its schema or the model's own constraints."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        where = ".".join(str(part) for part in issues[0].path)
        super().__init__(f"{where}: {issues[0].message}" if where else issues[0].message)


class PolicyRefused(GatewayError):
    """The policy does not allow this job, whatever it costs."""

    def __init__(self, rule: str, allowed: Any, message: str) -> None:
        self.rule = rule
        self.allowed = allowed
        super().__init__(message)


class NotAuthenticated(GatewayError):
    """No key, or one that opens nothing here."""


class Forbidden(GatewayError):
    """The key is good, but not for this."""


class BudgetExceeded(GatewayError):
    """A window would be overrun."""

    def __init__(
        self, standing: Standing, requested: Money, cheaper: Mapping[str, Any] | None = None
    ) -> None:
        self.standing = standing
        self.requested = requested
        self.cheaper = cheaper
        super().__init__(_budget_sentence(standing, requested))


def _budget_sentence(standing: Standing, requested: Money) -> str:
    limit = standing.limit
    whose = {
        "key": f"the key {limit.name}",
        "user": "your own",
        "team": f"team {limit.name}",
        "organization": "the organization",
    }[limit.scope]
    budget = f"{whose} budget" if limit.scope == "user" else f"the budget of {whose}"
    models = "" if limit.models == "*" else f" for {limit.models}"
    if limit.scope in ("team", "organization"):
        left = ""
    else:
        left = f", which has {max(standing.left, Money(0))} USD of {standing.ceiling} left"
    return (
        f"This job costs {requested} USD and does not fit {budget} per {limit.window}{models}"
        f"{left}. Nothing was bought. {_way_out(standing, requested)}"
    )


def _way_out(standing: Standing, requested: Money) -> str:
    """What whoever was refused can do; of shared limits it tells no amounts."""
    is_own = standing.limit.scope not in ("team", "organization")
    if is_own and not standing.ceiling:
        return "It allows nothing at all: ask an administrator for a grant."
    ways = ["Order less", "ask an administrator for a grant."]
    if standing.resets_at is not None and not (is_own and requested > standing.ceiling):
        ways.insert(1, "wait for the window to end")
    return f"{', '.join(ways[:-1])}, or {ways[-1]}"


class OrganizationBroke(GatewayError):
    """The organization's own Venice balance or key limit is used up."""


class MediaNotFound(GatewayError):
    """Not this user's job, unknown, purged or expired: alike to everybody."""

    def __init__(self) -> None:
        super().__init__(
            "No video is here under that id: it is unknown, expired, deleted, or not yours."
        )


class NotGoverned(GatewayError):
    """The path is none of those this gateway carries."""

    def __init__(self) -> None:
        super().__init__(
            "This gateway carries Venice's video endpoints only: /video/quote, /video/queue, "
            "/video/retrieve, /video/complete, and /models, /billing/balance and "
            "/api_keys/rate_limits beside them."
        )


class NotFound(GatewayError):
    """Nothing of that name is known here."""


class InternalFault(GatewayError):
    """A fault of the gateway's own; the log has what happened, under the request's id."""

    def __init__(self) -> None:
        super().__init__(
            "The gateway failed on this request. Tell an administrator the request id "
            "(X-Request-Id); sending the same request again is safe."
        )


class Conflict(GatewayError):
    """The thing exists already, or is not in a state for this."""


class PreconditionFailed(GatewayError):
    """The thing is no longer as the caller last saw it."""

    def __init__(self) -> None:
        super().__init__(
            "It was changed since you looked: nothing was done. Read it again, then decide anew."
        )


class MethodNotAllowed(GatewayError):
    """The path is right, the method is not."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"This path answers {', '.join(allowed)} only.")


class OutcomeUnknown(GatewayError):
    """Venice may have accepted the order; its money stays held."""

    def __init__(self, job: str) -> None:
        self.job = job
        super().__init__(
            f"Venice may or may not have accepted this order (job {job}), so it is not sent "
            "again, and its price counts as spent until that is known. Ask for the job by that "
            "id, or "
            "send the request with the header X-Gateway-Force-New: true, and with another "
            "Idempotency-Key if it has one, to order anew."
        )


class IdempotencyMismatch(GatewayError):
    """The same Idempotency-Key came with another body."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with another request body in the last 24 hours. "
            "Use a new key for a new order."
        )


class RangeNotSatisfiable(GatewayError):
    """The video has none of the bytes that `Range` names."""


class IdempotencyInProgress(GatewayError):
    """The first request with this Idempotency-Key is still running."""

    def __init__(self) -> None:
        super().__init__(
            "The first request with this Idempotency-Key is still running. Send it again later "
            "to get its answer; nothing more was bought."
        )


class PayloadTooLarge(GatewayError):
    """The body is larger than the gateway reads."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            f"The request body is larger than the {bytes_max} bytes this gateway accepts "
            "(VGW_BODY_MAX). Send media by URL instead, or ask an administrator to raise it."
        )


class HeadersTooLarge(GatewayError):
    """The request's headers are larger than any honest request's."""

    def __init__(self) -> None:
        super().__init__("The request's headers are too large.")


class InvalidContentType(GatewayError):
    """The body is not plain JSON."""

    def __init__(self) -> None:
        super().__init__(
            "Send the body as Content-Type: application/json, without a Content-Encoding."
        )


@dataclass(frozen=True, slots=True)
class RateStanding:
    """How a caller stands against one of its own limits."""

    limit: int
    remaining: int
    reset_seconds: int
    reset_at: int
    """Unix milliseconds."""
    window_seconds: int = 60


class RateLimited(GatewayError):
    """The caller's own limit, not Venice's."""

    def __init__(self, rule: str, standing: RateStanding, message: str) -> None:
        self.rule = rule
        self.standing = standing
        super().__init__(message)


class QuoteUnavailable(GatewayError):
    """Venice gave no trustworthy price, so nothing was bought."""


class UpstreamInvalid(GatewayError):
    """Venice gave an answer that makes no sense, or a video that cannot be delivered."""


class UpstreamBusy(GatewayError):
    """No place at Venice in time; nothing was bought."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UpstreamAuth(GatewayError):
    """Venice refused the organization's key: an administrator must act."""


class UpstreamRefused(GatewayError):
    """Venice's own refusal, passed on with its status and body."""

    def __init__(self, status: int, body: bytes, retry_after: int | None = None) -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after
        super().__init__(f"Venice refused this request with status {status}.")


class StorageFull(GatewayError):
    """The gateway's disk is full, or cannot be worked with: no new paid work."""

    retry_after = 30

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message
            or "The gateway's disk is full, so it takes no new orders; nothing was bought. "
            "Running jobs and stored videos are unaffected. Tell an administrator."
        )


class SpendingStopped(GatewayError):
    """The ledger found itself wrong, or an administrator stopped spending."""

    retry_after = 60


class Draining(GatewayError):
    """The gateway is shutting down."""

    retry_after = 5

    def __init__(self) -> None:
        super().__init__(
            "The gateway is restarting and takes no new orders; nothing was bought. "
            "Send the request again in a few seconds."
        )
