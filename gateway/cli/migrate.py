"""`migrate`: the schema of the database, shown or brought up to date; `serve` does it by itself."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gateway.cli.reach import Refused, when_free
from gateway.cli.show import AsJson, as_record, as_value


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only report; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Apply the schema steps that the database lacks, after a copy of it was made beside it."""
    from gateway.app import upkeep
    from gateway.moments import SystemClock
    from gateway.ports import DatabaseLocked, DatabaseRefused
    from gateway.settings import load_settings

    settings = load_settings(os.environ, simulator=True, serves=False)
    works = upkeep(settings)
    try:
        if check:
            found = works.missing()
        else:
            what = "Bringing the schema up to date"
            found = when_free(what, lambda: works.migrate(SystemClock().now()))
    except DatabaseLocked as error:
        raise Refused(
            f"{error}. Stop the gateway first; at its next start it applies the steps itself."
        ) from error
    except DatabaseRefused as error:
        raise Refused(str(error)) from error
    shape = {
        "database": str(settings.database_path),
        "version": found.version,
        "pending": list(found.steps) if check else [],
        "applied": [] if check else list(found.steps),
        "backup": None if found.backup is None else str(found.backup),
    }
    if as_json:
        as_value(shape)
        return
    as_record(shape)
    if not found.steps:
        print("Nothing is pending.")
