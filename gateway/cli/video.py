"""`video`: what is in the store, whether it is intact, and its removal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.filters import Key, Limit, Model, Since, Team, Until, User
from gateway.cli.progress import working
from gateway.cli.reach import Refused, WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

app = typer.Typer(no_args_is_help=True, help="Stored videos.")

_COLUMNS = ("job", "queue_id", "user", "bytes", "stored_at", "delivered_at", "expires_at")


@app.command("list")
def list_(
    *,
    user: User = None,
    team: Team = None,
    model: Model = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    delivered: Annotated[
        bool | None,
        typer.Option("--delivered/--undelivered", help="Only those that somebody has, or nobody."),
    ] = None,
    suspicious: Annotated[
        bool | None,
        typer.Option("--suspicious/--no-suspicious", help="Only those too small to be real."),
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List stored videos, of the newest job first; DATE is of when it was ordered."""
    which: dict[str, Any] = {"user": user, "team": team, "model": model, "key": key}
    which |= {"since": since, "until": until, "delivered": delivered, "suspicious": suspicious}
    with administration() as doors, working("Reading videos") as tell:
        found = doors.newest("videos", limit, tell, **which)
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Count the stored videos, and those that nobody has yet."""
    with administration() as doors:
        _shown(doors.get("videos", "totals"), as_json)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Read and hash every stored video anew; exit 1 where anything differs."""
    with administration() as doors, working("Reading and hashing every stored video"):
        found = doors.get("videos", "verification")
    for what in ("damaged", "missing", "orphans"):
        for name in found[what]:
            note(f"error: {what.removesuffix('s')}: {name}")
    if as_json:
        as_value(found)
    else:
        counts = {w: len(found[w]) for w in ("damaged", "missing", "orphans")}
        as_record({"ok": found["ok"], "checked": found["checked"], **counts})
    if not found["ok"]:
        raise typer.Exit(1)


@app.command()
def purge(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs.")] = None,
    user: User = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="30d", help="Only those stored longer ago.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really remove them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove videos here and at Venice; without --yes only say which."""
    if not ids and user is None and older_than is None:
        raise WrongUsage("Say which: ids, --user or --older-than.")
    body = {"ids": ids or [], "user": user, "older_than": older_than, "dry_run": not yes}
    with administration() as doors, working("Removing videos" if yes else "Looking for videos"):
        done = doors.post("videos", "purge", body=body)
    if as_json:
        as_value(done)
    else:
        as_record({"videos": done["videos"], "bytes": done["bytes"]})
    if not yes:
        raise Refused("Nothing was removed. Add --yes to remove these videos for good.")


def _shown(shape: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(shape)
    else:
        as_record(shape)
