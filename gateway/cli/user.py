"""`user` and `team`: the people that use the gateway."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli import filters
from gateway.cli.reach import WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value

app = typer.Typer(no_args_is_help=True, help="The people that use the gateway.")
teams = typer.Typer(no_args_is_help=True, help="Teams; they exist by being named in a policy file.")

Name = Annotated[str, typer.Argument(metavar="NAME")]
Team = Annotated[str | None, typer.Option("--team", help="A team that a policy file names.")]
Policy = Annotated[
    str | None, typer.Option("--policy", help="A policy of their own, before their team's.")
]
_COLUMNS = ("name", "team", "policy", "email", "disabled_at", "created_at")
_WINDOWS = ("window", "models", "limit_usd", "spent_usd", "reserved_usd", "in_doubt_usd")


@app.command()
def add(
    name: Name,
    *,
    team: Team = None,
    policy: Policy = None,
    email: Annotated[str | None, typer.Option(help="Where to reach them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a user."""
    body = {"name": name, "team": team, "policy": policy, "email": email}
    with administration() as doors:
        user = doors.post("users", body=body)
    _shown({field: user[field] for field in ("name", "team", "policy")}, as_json)


@app.command("list")
def list_(
    *,
    team: filters.Team = None,
    policy: filters.Policy = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disabled/--enabled", help="Only those who are not let in, or are."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List users; a policy is one of their own."""
    with administration() as doors:
        found = doors.every("users", team=team, policy=policy, disabled=disabled)
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a user and their keys."""
    with administration() as doors:
        user = doors.get("users", name)
    if as_json:
        as_value(user)
        return
    as_record({**user, "keys": [key["id"] for key in user["keys"]]})


@app.command()
def move(
    name: Name,
    *,
    team: Team = None,
    no_team: Annotated[bool, typer.Option("--no-team", help="Out of any team.")] = False,
    policy: Policy = None,
    no_policy: Annotated[
        bool, typer.Option("--no-policy", help="Back to the team's policy, or the default.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a user into another team or under another policy; what they spent stays in place."""
    if (team and no_team) or (policy and no_policy):
        raise WrongUsage("Give either a name or its --no- form, not both.")
    changes: dict[str, Any] = {}
    if team or no_team:
        changes["team"] = team
    if policy or no_policy:
        changes["policy"] = policy
    if not changes:
        raise WrongUsage("Say where to: --team, --no-team, --policy or --no-policy.")
    _change(name, changes, as_json)


@app.command()
def disable(name: Name, as_json: AsJson = False) -> None:
    """Refuse all keys of a user from their next request on; running jobs go on."""
    _change(name, {"disabled": True}, as_json)


@app.command()
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let a disabled user's keys open again."""
    _change(name, {"disabled": False}, as_json)


def _change(name: str, changes: dict[str, Any], as_json: bool) -> None:
    with administration() as doors:
        _shown(doors.patch("users", name, body=changes), as_json)


def _shown(user: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(user)
    else:
        as_record(user)


@teams.command("list")
def list_teams(*, policy: filters.Policy = None, as_json: AsJson = False) -> None:
    """List the teams that the policy files name."""
    with administration() as doors:
        found = doors.every("teams", policy=policy)
    if as_json:
        as_value(found)
    else:
        as_table(found, ("name", "policy", "pool", "users"))


@teams.command("show")
def show_team(name: Name, as_json: AsJson = False) -> None:
    """Show a team, its users, and how its pool stands."""
    with administration() as doors:
        team = doors.get("teams", name)
    if as_json:
        as_value(team)
        return
    as_record({field: team[field] for field in ("name", "policy", "users")})
    as_table(team["windows"], _WINDOWS)
