"""`video`: what is in the store, whether it is intact, and its removal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.progress import working
from gateway.cli.reach import Refused, WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

app = typer.Typer(no_args_is_help=True, help="Stored videos.")

User = Annotated[str | None, typer.Option(help="Only this user's.")]
PAGE = 1_000
_COLUMNS = ("job", "queue_id", "user", "bytes", "stored_at", "delivered_at", "expires_at")


@app.command("list")
def list_(
    user: User = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many; all of them without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List stored videos, of the newest job first."""
    found: list[dict[str, Any]] = []
    before: str | None = None
    with administration() as doors, working("Reading videos") as tell:
        while limit is None or len(found) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(found))
            page = doors.get("videos", user=user, before=before, limit=size)
            found += page["videos"]
            tell(f"{len(found):,}")
            before = page["next"]
            if before is None:
                break
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
