"""`spend`: who spent what."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Literal

import typer

from gateway.cli.filters import Since, Until
from gateway.cli.progress import working
from gateway.cli.reach import WrongUsage, administration
from gateway.cli.show import AsJson, as_table, as_value

_AMOUNTS = ("settled_usd", "reserved_usd", "in_doubt_usd", "jobs")


def spend(
    by: Annotated[
        Literal["user", "team", "key", "model", "tag", "day"], typer.Option(help="Rows of what.")
    ] = "user",
    since: Since = None,
    until: Until = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who spent what; of all time without --since."""
    if as_csv and as_json:
        raise WrongUsage("Give either --csv or --json.")
    with administration() as doors, working("Adding up"):
        rows = doors.get("usage", by=by, since=since, until=until)["usage"]
    columns = (by, *_AMOUNTS)
    if as_json:
        as_value(rows)
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        as_table(rows, columns)
