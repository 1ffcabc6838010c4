"""`audit`: what administration did. It is read, never changed."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.filters import Limit, Since, Until
from gateway.cli.progress import working
from gateway.cli.reach import administration
from gateway.cli.show import AsJson, as_table, as_value

app = typer.Typer(no_args_is_help=True, help="What administration did.")

_COLUMNS = ("at", "by", "act", "target", "detail")


@app.command("list")
def list_(
    *,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only by this administrator.")
    ] = None,
    act: Annotated[str | None, typer.Option(help="Only this act, like key.revoke.")] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only on this user, key, job, ….")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List what administration did, newest first."""
    which = {"by": by, "act": act, "target": target, "since": since, "until": until}
    with administration() as doors, working("Reading the audit") as tell:
        found = doors.newest("audit", limit, tell, **which)
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)
