"""`/gateway/v1/admin/admin-keys`: who administers. The answer to a creation is the only place where
a key's text ever appears.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import admin_keys as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import AdminKeyAnswer
from gateway.api.forms import Form, read_form
from gateway.api.respond import json_response
from gateway.api.shapes import time_of
from gateway.core.notation import Name
from gateway.keyring import ROOT
from gateway.moments import rfc3339
from gateway.records import AdminKey, Role


class NewAdminKey(Form):
    """A key to be."""

    name: Name
    role: Role


async def admin_keys(request: Request) -> Response:
    """All named keys, or a new one."""
    office = office_of(request)
    if request.method != "POST":
        shapes = [_shape(key) for key in office.admin_keys.named()]
        return json_response({"admin_keys": shapes})
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
    return json_response({"name": ROOT})


def _shape(key: AdminKey) -> AdminKeyAnswer:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": rfc3339(key.created_at),
        "revoked_at": time_of(key.revoked_at),
    }
