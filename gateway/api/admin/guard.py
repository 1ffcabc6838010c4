"""Stands before everything under `/gateway/v1/admin`: without the admin key every path and method
there, known or not, is 401. No door behind it can forget to ask.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.administer import Office
from gateway.api.authenticate import bearer
from gateway.core.errors import NotAuthenticated
from gateway.keyring import AdminKey

PREFIX = "/gateway/v1/admin"
ACTOR = "admin"
"""Who acts, in the audit: whoever holds the gateway's one admin key."""


class AdminGuard:
    """Lets requests pass to the doors of administration with the admin key only."""

    def __init__(self, app: ASGIApp, admin_key: AdminKey) -> None:
        self._app = app
        self._admin_key = admin_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_admin(scope["path"]):
            if not self._admin_key.opens(bearer(Request(scope))):
                raise NotAuthenticated("This door opens with the gateway's admin key only.")
            scope["administrator"] = ACTOR
        await self._app(scope, receive, send)


def is_admin(path: str) -> bool:
    """Whether a path belongs to administration."""
    return path == PREFIX or path.startswith(PREFIX + "/")


def office_of(request: Request) -> Office:
    """The desk of the application that a request came to."""
    office: Office = request.app.state.office
    return office


def actor_of(request: Request) -> str:
    """Who acts; the guard has seen their key."""
    actor: str = request.scope["administrator"]
    return actor
