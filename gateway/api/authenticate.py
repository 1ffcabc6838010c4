"""From the Authorization header to who is calling; nothing of the header is kept or repeated."""

from __future__ import annotations

from starlette.requests import Request

from gateway.api.services import services_of
from gateway.core.errors import InvalidRequest, Issue, NotAuthenticated
from gateway.logs import note_caller
from gateway.records import Caller

_HOW = "Send the header Authorization: Bearer vgw_… with a key of this gateway."


def bearer(request: Request) -> str:
    """The one bearer token of a request; `NotAuthenticated` where there is none."""
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not values:
        raise NotAuthenticated(f"No key was sent. {_HOW}")
    if len(values) > 1:
        issue = Issue(("authorization",), "The Authorization header was sent more than once.")
        raise InvalidRequest([issue])
    text: str = values[0].decode("latin-1")
    scheme, _, token = text.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated(f"The Authorization header is not a bearer key. {_HOW}")
    return token.strip()


def caller_of(request: Request) -> Caller:
    """The caller of a user's door, counted as one request; `NotAuthenticated` for anybody else."""
    services = services_of(request)
    caller = polling_caller_of(request)
    services.allowances.take_request(caller)
    return caller


def polling_caller_of(request: Request) -> Caller:
    """The caller of the door that counts for itself; `NotAuthenticated` for anybody else."""
    caller = services_of(request).keyring.caller(bearer(request))
    note_caller(caller)
    return caller
