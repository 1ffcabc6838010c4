"""`notice`: what was told to whom by webhooks, and telling it again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from gateway.cli.reach import administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note

app = typer.Typer(no_args_is_help=True, help="Notices sent by webhooks.")

Id = Annotated[str, typer.Argument(metavar="NOTICE")]
To = Annotated[str | None, typer.Option(metavar="RECEIVER", help="To this one only.")]
_COLUMNS = ("notice", "at", "event", "subject", "receiver", "state", "tries", "last_why")
_ATTEMPTS = ("receiver", "at", "took_ms", "status", "why")


@app.command("list")
def list_(
    *,
    event: Annotated[str | None, typer.Option(help="Only this event, like job.failed.")] = None,
    to: To = None,
    state: Annotated[
        Literal["waiting", "delivered", "given_up"] | None, typer.Option(help="Only these.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what was told to whom, newest first."""
    with administration() as doors:
        query = {"event": event, "receiver": to, "state": state, "limit": limit}
        found = doors.get("notices", **query)["notices"]
    if as_json:
        as_value(found)
    else:
        as_table(found, _COLUMNS)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """Show a notice, and every try to tell it."""
    with administration() as doors:
        _shown(doors.get("notices", id), as_json)


@app.command()
def redeliver(id: Id, to: To = None, as_json: AsJson = False) -> None:
    """Tell a notice again, whatever came of it before."""
    with administration() as doors:
        _shown(doors.post("notices", id, "redeliver", body={"receiver": to}), as_json)


@app.command("test")
def send_test(to: To = None, as_json: AsJson = False) -> None:
    """Send a notice of no consequence to the receivers that the policies name."""
    with administration() as doors:
        sent = doors.post("notices", "test", body={"receiver": to})
    _shown(sent, as_json)
    if not as_json:
        note(
            "A running gateway sends it within a second: "
            f"venice-gateway notice show {sent['notice']} says what came of it."
        )


def _shown(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(told)
        return
    deliveries = told["deliveries"]
    as_record({name: value for name, value in told.items() if name != "deliveries"})
    as_table(deliveries, ("receiver", "state", "tries", "next_at", "last_why"))
    tries = [{**each, "receiver": d["receiver"]} for d in deliveries for each in d["attempts"]]
    if tries:
        as_table(tries, _ATTEMPTS)
