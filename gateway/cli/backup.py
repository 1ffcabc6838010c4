"""`backup` and `restore`: copies of the database file, made at any time and put back while no
gateway runs. They work on the data directory of this machine, never through a gateway's doors.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.progress import working
from gateway.cli.reach import Refused, when_free
from gateway.cli.show import AsJson, as_record, as_value, note

if TYPE_CHECKING:
    from gateway.settings import Settings

File = Annotated[Path, typer.Argument(metavar="FILE", resolve_path=True)]


def backup(file: File, as_json: AsJson = False) -> None:
    """Copy the database to a new file, also while the gateway runs. Videos are not in it."""
    from gateway.app import upkeep
    from gateway.ports import DatabaseRefused

    try:
        with working("Copying the database"):
            found = upkeep(_settings()).back_up(file)
    except DatabaseRefused as error:
        raise Refused(str(error)) from error
    _shown({"file": str(file), "bytes": file.stat().st_size, **_contents(found)}, as_json)
    note("Videos are not in it: copy the video store apart from it.")


def restore(file: File, as_json: AsJson = False) -> None:
    """Put a backup in the database's place, which is kept; spending then waits for a decision."""
    from gateway.app import upkeep
    from gateway.moments import SystemClock, rfc3339
    from gateway.ports import DatabaseLocked, DatabaseRefused
    from gateway.records import RESTORED

    now = SystemClock().now()
    waits = f"{RESTORED}{rfc3339(now)}"
    try:
        what = "Putting the backup in the database's place"
        done = when_free(what, lambda: upkeep(_settings()).restore(file, now, waits))
    except DatabaseLocked as error:
        raise Refused(
            f"{error}. Stop the gateway first: a database is only replaced while nobody uses it."
        ) from error
    except DatabaseRefused as error:
        raise Refused(str(error)) from error
    kept = None if done.replaced is None else str(done.replaced)
    shape = {"file": str(file), **_contents(done.found), "replaced": kept, "spending_waits": waits}
    _shown(shape, as_json)
    note(
        "Nothing is bought until you let it: what was ordered after the backup is not in it. Start "
        "the gateway, then compare with Venice's bill: `venice-gateway reconcile` lets orders in "
        "again if nothing is missing. Else look, and run\n"
        "  venice-gateway spending resume --why TEXT"
    )


def _settings() -> Settings:
    from gateway.settings import load_settings

    return load_settings(os.environ, simulator=True, serves=False)


def _contents(found: Any) -> dict[str, Any]:
    return {
        "upstream": found.upstream,
        "schema_version": found.version,
        "users": found.users,
        "jobs": found.jobs,
        "entries": found.entries,
        "videos": False,
    }


def _shown(shape: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(shape)
    else:
        as_record(shape)
