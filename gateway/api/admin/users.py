"""`/gateway/v1/admin/users`: who may use the gateway, and what applies to each."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StrictBool
from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import people, rules
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import UserAnswer
from gateway.api.conditional import require_match, tagged
from gateway.api.forms import Form, Truth, read_form, read_query
from gateway.api.listing import Paged, answer_list, page_of
from gateway.api.respond import json_response
from gateway.api.shapes import key_shape, standing_shape, user_shape
from gateway.core.notation import Name

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")

COLUMNS = tuple(UserAnswer.__annotations__)


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError("it is no address like anna@example.org")
    return value


Email = Annotated[str, AfterValidator(_email)]


class NewUser(Form):
    """A user to be."""

    name: Name
    team: str | None = None
    policy: str | None = None
    email: Email | None = None


class UserChanges(Form):
    """What is to be different; a field that is absent stays, null removes."""

    team: str | None = None
    policy: str | None = None
    email: Email | None = None
    disabled: StrictBool | None = None


class Which(Paged):
    """Which users."""

    team: str | None = None
    policy: str | None = None
    """A policy of their own; those who have their team's have none."""
    disabled: Truth | None = None


async def users(request: Request) -> Response:
    """All users, or a new one."""
    office = office_of(request)
    if request.method != "POST":
        return _listed(request, read_query(request, Which))
    form = await read_form(request, NewUser)
    user = await people.add_user(
        office,
        actor_of(request),
        name=form.name,
        team=form.team,
        policy=form.policy,
        email=form.email,
    )
    return json_response(user_shape(user), 201)


def _listed(request: Request, which: Which) -> Response:
    office = office_of(request)
    office.require_team(which.team)
    found = [
        user
        for user in office.keyring.users()
        if which.team in (None, user.team)
        and which.policy in (None, user.policy)
        and which.disabled in (None, user.disabled_at is not None)
    ]
    page, following = page_of(found, lambda user: user.name, which)
    rows = [user_shape(user) for user in page]
    return answer_list(
        request, which, "users", rows, columns=COLUMNS, following=following, cursor="after"
    )


async def user(request: Request) -> Response:
    """One user with their keys; PATCH moves, disables and enables."""
    office = office_of(request)
    if request.method == "PATCH":
        form = await read_form(request, UserChanges)
        async with office.changing:
            return await _changed(request, form)
    found = office.user(request.path_params["name"])
    keys = [key_shape(key) for key in office.keyring.keys(found.name)]
    return tagged({**user_shape(found), "keys": keys}, of=user_shape(found))


async def _changed(request: Request, form: UserChanges) -> Response:
    office, actor = office_of(request), actor_of(request)
    found = office.user(request.path_params["name"])
    require_match(request, user_shape(found))
    changes = form.model_dump(exclude_unset=True)
    disabled = changes.pop("disabled", None)
    if changes:
        found = await people.change_user(office, actor, found.name, changes)
    if disabled is not None:
        act = people.disable_user if disabled else people.enable_user
        found = await act(office, actor, found.name)
    return tagged(user_shape(found))


async def user_policy(request: Request) -> Response:
    """The rules that apply to a user, where each was written, and how their windows stand."""
    office = office_of(request)
    found = office.user(request.path_params["name"])
    name = people.policy_name(office, found)
    standings = await people.standings(office, found)
    return json_response(
        {
            "user": found.name,
            "team": found.team,
            "policy": name,
            "rules": office.rulebook.policies[name].model_dump(mode="json"),
            "written_in": rules.written_in(office, name),
            "shared_rules": rules.shared(office, found.team),
            "shared_written_in": rules.shared_written_in(office, found.team),
            "windows": [standing_shape(standing) for standing in standings],
        }
    )
