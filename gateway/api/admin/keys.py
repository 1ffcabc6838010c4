"""`/gateway/v1/admin/keys`: user keys. The answer to a creation or rotation is the only place where
a key's text ever appears.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool
from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import keys as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import KeyAnswer
from gateway.api.conditional import require_match, tagged
from gateway.api.forms import Form, Length, Tags, Truth, read_form, read_query
from gateway.api.listing import Paged, answer_list, page_of
from gateway.api.respond import json_response
from gateway.api.shapes import Shape, key_shape, time_of
from gateway.core.notation import Amount, Glob, Name

MODELS_MAX = 100
COLUMNS = tuple(KeyAnswer.__annotations__)


class Budget(Form):
    """What a key may spend in a window."""

    usd: Amount
    window: str


class NewKey(Form):
    """A key to be."""

    user: str
    name: Name | None = None
    budget: Budget | None = None
    models: Annotated[tuple[Glob, ...], Field(max_length=MODELS_MAX)] = ()
    tags: Tags = ()
    expires: str | None = None
    """A length of time like `30d`, or a date."""
    delivery: Literal["auto", "json", "bytes"] = "auto"
    service: StrictBool = False


class Which(Paged):
    """Which keys."""

    user: str | None = None
    revoked: Truth | None = None
    service: Truth | None = None


class KeyChanges(Form):
    """What is to be different; a field that is absent stays, null removes a name or an end."""

    name: Name | None = None
    models: Annotated[tuple[Glob, ...], Field(max_length=MODELS_MAX)] = ()
    tags: Tags = ()
    expires: str | None = None
    """A length of time like `30d`, or a date."""
    delivery: Literal["auto", "json", "bytes"] = "auto"


class Rotation(Form):
    """How long the old key still opens doors."""

    overlap: Length = 86_400_000


async def keys(request: Request) -> Response:
    """All keys, those of one user, or a new one."""
    office = office_of(request)
    if request.method == "POST":
        return await _create(request)
    which = read_query(request, Which)
    if which.user is not None:
        office.user(which.user)
    found = [
        key
        for key in office.keyring.keys(which.user)
        if which.revoked in (None, key.revoked_at is not None)
        and which.service in (None, key.is_service)
    ]
    page, following = page_of(found, lambda key: key.id, which)
    rows = [key_shape(key) for key in page]
    return answer_list(
        request, which, "keys", rows, columns=COLUMNS, following=following, cursor="after"
    )


async def _create(request: Request) -> Response:
    form = await read_form(request, NewKey)
    made = await verbs.create_key(
        office_of(request),
        actor_of(request),
        user=form.user,
        name=form.name,
        budget=None if form.budget is None else (form.budget.window, form.budget.usd),
        models=form.models,
        tags=form.tags,
        expires=form.expires,
        delivery=form.delivery,
        is_service=form.service,
    )
    return json_response(_shown_once(made), 201)


async def key(request: Request) -> Response:
    """One key's settings; PATCH changes them, but neither whose it is nor its budget."""
    office, key_id = office_of(request), request.path_params["id"]
    if request.method != "PATCH":
        return tagged(key_shape(office.key(key_id)))
    changes = (await read_form(request, KeyChanges)).model_dump(exclude_unset=True)
    async with office.changing:
        require_match(request, key_shape(office.key(key_id)))
        changed = await verbs.change_key(office, actor_of(request), key_id, changes)
    return tagged(key_shape(changed))


async def revoke(request: Request) -> Response:
    """End a key now."""
    key_id = request.path_params["id"]
    return json_response(
        key_shape(await verbs.revoke_key(office_of(request), actor_of(request), key_id))
    )


async def rotate(request: Request) -> Response:
    """Replace a key by a new one with the same settings."""
    form = await read_form(request, Rotation)
    key_id = request.path_params["id"]
    made, old = await verbs.rotate_key(office_of(request), actor_of(request), key_id, form.overlap)
    replaced = {"replaces": old.id, "replaced_until": time_of(old.expires_at)}
    return json_response({**_shown_once(made), **replaced}, 201)


def _shown_once(made: verbs.NewKey) -> Shape:
    return {"id": made.key.id, "key": made.text, "user": made.key.user}
