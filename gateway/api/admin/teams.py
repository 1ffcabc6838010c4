"""`/gateway/v1/admin/teams`: the teams that the policy files name, their users and pools."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import people
from gateway.api.admin.guard import office_of
from gateway.api.answers import TeamAnswer
from gateway.api.forms import read_query
from gateway.api.listing import Paged, answer_list, page_of
from gateway.api.respond import json_response
from gateway.api.shapes import standing_shape, team_shape

COLUMNS = tuple(TeamAnswer.__annotations__)


class Which(Paged):
    """Which teams."""

    policy: str | None = None


async def teams(request: Request) -> Response:
    """All teams."""
    which = read_query(request, Which)
    rows = [
        team_shape(name, *rest)
        for name, rest in people.teams(office_of(request)).items()
        if which.policy in (None, rest[0].policy)
    ]
    page, following = page_of(rows, lambda row: row["name"], which)
    return answer_list(
        request, which, "teams", page, columns=COLUMNS, following=following, cursor="after"
    )


async def team(request: Request) -> Response:
    """One team, and how its pool stands."""
    office, name = office_of(request), request.path_params["name"]
    standings = await people.team_standings(office, name)
    shape = team_shape(name, *people.teams(office)[name])
    return json_response({**shape, "windows": [standing_shape(each) for each in standings]})
