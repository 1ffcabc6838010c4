"""`/gateway/v1/admin/admin-keys`: who administers. The answer to a creation is the only place where
a key's text ever appears.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import admin_keys as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import AdminKeyAnswer
from gateway.api.details import ResetAnswer
from gateway.api.forms import Form, Truth, read_form, read_query
from gateway.api.listing import Paged, answer_list, page_of
from gateway.api.respond import json_response
from gateway.api.shapes import time_of
from gateway.core.notation import Name
from gateway.keyring import ROOT
from gateway.moments import rfc3339
from gateway.records import AdminKey, Role

COLUMNS = tuple(AdminKeyAnswer.__annotations__)


class NewAdminKey(Form):
    """A key to be."""

    name: Name
    role: Role


class Which(Paged):
    """Which keys."""

    role: Role | None = None
    revoked: Truth | None = None


async def admin_keys(request: Request) -> Response:
    """All named keys, by name, or a new one."""
    office = office_of(request)
    if request.method != "POST":
        which = read_query(request, Which)
        rows = [
            _shape(key)
            for key in office.admin_keys.named()
            if which.role in (None, key.role)
            and which.revoked in (None, key.revoked_at is not None)
        ]
        page, following = page_of(rows, lambda row: row["name"], which)
        return answer_list(
            request, which, "admin_keys", page, columns=COLUMNS, following=following, cursor="after"
        )
    form = await read_form(request, NewAdminKey)
    made = await verbs.create(office, actor_of(request), form.name, form.role)
    shown = {"id": made.key.id, "key": made.text, "name": made.key.name, "role": made.key.role}
    return json_response(shown, 201)


async def revoke(request: Request) -> Response:
    """End a key now."""
    name = request.path_params["name"]
    return json_response(_shape(await verbs.revoke(office_of(request), actor_of(request), name)))


async def reset(request: Request) -> Response:
    """Keep in the audit that the root's key, by which this came, is a new one."""
    await verbs.note_reset(office_of(request), actor_of(request))
    answer: ResetAnswer = {"name": ROOT}
    return json_response(answer)


def _shape(key: AdminKey) -> AdminKeyAnswer:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": rfc3339(key.created_at),
        "revoked_at": time_of(key.revoked_at),
    }
