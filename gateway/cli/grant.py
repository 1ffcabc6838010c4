"""`grant`: a limit raised for a time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from gateway.cli.reach import administration
from gateway.cli.show import AsJson, as_record, as_table, as_value

app = typer.Typer(no_args_is_help=True, help="Limits raised for a time.")

_COLUMNS = ("id", "to", "usd", "window", "until", "revoked_at", "why")


@app.command()
def add(
    to: Annotated[str, typer.Argument(metavar="user:NAME|key:ID|team:NAME|organization")],
    usd: Annotated[str, typer.Argument(metavar="USD", help="How much more.")],
    *,
    window: Annotated[
        Literal["day", "week", "month", "total", "all"],
        typer.Option(help="In which window; all: in each of them."),
    ],
    until: Annotated[str, typer.Option(metavar="DATE", help="When it ends, exclusive.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason, for the record.")],
    as_json: AsJson = False,
) -> None:
    """Raise a limit until a date."""
    body = {"to": to, "usd": usd, "window": window, "until": until, "why": why}
    with administration() as doors:
        _shown(doors.post("grants", body=body), as_json)


@app.command("list")
def list_(
    *,
    to: Annotated[
        str | None, typer.Option(metavar="user:NAME|…", help="Only what raises this limit.")
    ] = None,
    active: Annotated[
        bool | None,
        typer.Option("--active/--ended", help="Only those that raise a limit now, or no more."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List grants, newest first."""
    with administration() as doors:
        found = doors.every("grants", to=to, active=active)
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)


@app.command()
def revoke(id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """End a grant now; what was spent under it stays spent."""
    with administration() as doors:
        _shown(doors.post("grants", id, "revoke", body={}), as_json)


def _shown(grant: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(grant)
    else:
        as_record(grant)
