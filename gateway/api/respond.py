"""From what happened to what the client gets: one table of statuses and codes, two shapes.

On `/api/v1` errors read well in every Venice client; on the gateway's own doors they are
RFC 9457 problems. What Venice itself answered keeps its body, with what is absent added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core import errors
from gateway.core.budget import Standing
from gateway.core.json_text import encode
from gateway.core.money import Money
from gateway.core.strictjson import NotStrictJson, parse_object
from gateway.moments import rfc3339

TABLE: dict[type[errors.GatewayError], tuple[int, str]] = {
    errors.InvalidRequest: (400, "INVALID_REQUEST"),
    errors.PolicyRefused: (400, "POLICY_REFUSED"),
    errors.NotAuthenticated: (401, "AUTHENTICATION_FAILED"),
    errors.BudgetExceeded: (402, "API_KEY_USD_SPEND_LIMIT_EXCEEDED"),
    errors.OrganizationBroke: (402, "INSUFFICIENT_BALANCE"),
    errors.Forbidden: (403, "FORBIDDEN"),
    errors.MediaNotFound: (404, "MEDIA_NOT_FOUND"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.NotGoverned: (404, "NOT_GOVERNED"),
    errors.MethodNotAllowed: (405, "METHOD_NOT_ALLOWED"),
    errors.OutcomeUnknown: (409, "QUEUE_OUTCOME_UNKNOWN"),
    errors.RangeNotSatisfiable: (416, "RANGE_NOT_SATISFIABLE"),
    errors.IdempotencyInProgress: (409, "IDEMPOTENCY_IN_PROGRESS"),
    errors.Conflict: (409, "CONFLICT"),
    errors.PreconditionFailed: (412, "PRECONDITION_FAILED"),
    errors.PayloadTooLarge: (413, "PAYLOAD_TOO_LARGE"),
    errors.InvalidContentType: (415, "INVALID_CONTENT_TYPE"),
    errors.IdempotencyMismatch: (422, "IDEMPOTENCY_MISMATCH"),
    errors.RateLimited: (429, "RATE_LIMIT_EXCEEDED"),
    errors.HeadersTooLarge: (431, "HEADERS_TOO_LARGE"),
    errors.InternalFault: (500, "INTERNAL_ERROR"),
    errors.QuoteUnavailable: (502, "QUOTE_UNAVAILABLE"),
    errors.UpstreamInvalid: (502, "UPSTREAM_INVALID"),
    errors.UpstreamBusy: (503, "UPSTREAM_BUSY"),
    errors.UpstreamAuth: (503, "UPSTREAM_AUTH"),
    errors.StorageFull: (503, "STORAGE_FULL"),
    errors.SpendingStopped: (503, "SPENDING_STOPPED"),
    errors.Draining: (503, "DRAINING"),
}
"""Every error there is, with its status and code on `/api/v1`."""

VENICE_CODES = {
    400: "INVALID_REQUEST",
    409: "NEEDS_CONSENT",
    413: "PAYLOAD_TOO_LARGE",
    415: "INVALID_CONTENT_TYPE",
    422: "CONTENT_VIOLATION",
    500: "INFERENCE_FAILED",
}
"""Codes for Venice's own refusals where it names none."""

Fields = dict[str, Any]
_JSON_TYPE = (b"content-type", b"application/json")


def respond(error: errors.GatewayError, *, to_venice_client: bool) -> Response:
    """The answer for an error, in the shape of the doors it happened at."""
    if isinstance(error, errors.UpstreamRefused):
        return passed_on(error.status, error.body, _headers(error))
    status, code = TABLE[type(error)]
    fields = _fields(error)
    if to_venice_client:
        body = {"error": error.message, "message": error.message, "code": code}
        body |= {"source": "gateway", **fields}
        return json_response(body, status, _headers(error))
    problem: Fields = {"type": "about:blank", "title": code.replace("_", " ").capitalize()}
    problem |= {"status": status, "detail": error.message, "code": code, **fields}
    return json_response(problem, status, _headers(error), "application/problem+json")


class JsonText:
    """An answer of 200 with JSON that is text already: the least that an answer can be."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive  # what any ASGI application is handed
        body = self._text.encode()
        headers = [_JSON_TYPE, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def json_response(
    body: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """A JSON answer."""
    return Response(encode(body), status, headers=dict(headers or {}), media_type=media_type)


def passed_on(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """Venice's own answer, with `message`, `code` and `source` added where absent."""
    try:
        document = parse_object(body)
    except NotStrictJson:
        document = {"error": f"Venice answered with status {status} and no readable body."}
    error = document.get("error")
    if error is not None:
        text = error.get("message") if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
        document.setdefault("message", text if isinstance(text, str) else json.dumps(text))
        default = VENICE_CODES.get(status, "UPSTREAM_REFUSED")
        document.setdefault("code", code if isinstance(code, str) else default)
        document.setdefault("source", "venice")
    return json_response(document, status, headers)


def _fields(error: errors.GatewayError) -> Fields:
    """What an error carries beside its sentence and code."""
    match error:
        case errors.InvalidRequest():
            return _issues(error)
        case errors.PolicyRefused():
            return {"rule": error.rule, "allowed": error.allowed}
        case errors.BudgetExceeded():
            return {"budget": _budget(error.standing, error.requested), **_cheaper(error)}
        case errors.OutcomeUnknown():
            return {"job": error.job}
        case _:
            return {}


def _cheaper(error: errors.BudgetExceeded) -> Fields:
    return {"cheaper": dict(error.cheaper)} if error.cheaper is not None else {}


def _issues(error: errors.InvalidRequest) -> Fields:
    details: Fields = {"_errors": []}
    issues = []
    for issue in error.issues:
        issues.append({"code": issue.code, "path": list(issue.path), "message": issue.message})
        at = details
        for part in issue.path:
            at = at.setdefault(str(part), {"_errors": []})
        at["_errors"].append(issue.message)
    return {"details": details, "issues": issues}


def _budget(standing: Standing, requested: Money) -> Fields:
    limit = standing.limit
    budget: Fields = {"scope": limit.scope, "name": limit.name, "window": limit.window}
    if limit.scope in ("team", "organization"):
        # What others spend is theirs to know: no amounts of shared pools.
        return budget
    return budget | {
        "limit_usd": str(standing.ceiling),
        "spent_usd": str(standing.settled),
        "reserved_usd": str(standing.reserved + standing.in_doubt),
        "requested_usd": str(requested),
        "resets_at": None if standing.resets_at is None else rfc3339(standing.resets_at),
    }


def _headers(error: errors.GatewayError) -> dict[str, str]:
    match error:
        case errors.RateLimited():
            return _rate_headers(error)
        case errors.MethodNotAllowed():
            return {"allow": ", ".join(error.allowed)}
        case errors.NotAuthenticated():
            return {"www-authenticate": "Bearer"}
        case errors.OutcomeUnknown():
            return {"x-gateway-job": error.job}
        case errors.PayloadTooLarge():
            # The rest of the body is not read, so nothing else can come on this connection.
            return {"connection": "close"}
        case _:
            seconds = getattr(error, "retry_after", None)
            return {} if seconds is None else {"retry-after": str(seconds)}


def _rate_headers(error: errors.RateLimited) -> dict[str, str]:
    """Venice's names with integers, as its clients parse them, and the RateLimit fields."""
    standing = error.standing
    name = f'"{error.rule}"'
    return {
        "retry-after": str(standing.reset_seconds),
        "x-ratelimit-limit-requests": str(standing.limit),
        "x-ratelimit-remaining-requests": str(standing.remaining),
        "x-ratelimit-reset-requests": str(standing.reset_at),
        "ratelimit": f"{name};r={standing.remaining};t={standing.reset_seconds}",
        "ratelimit-policy": f"{name};q={standing.limit};w={standing.window_seconds}",
    }
