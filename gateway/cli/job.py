"""`job`: what became of every order, the decision about one in doubt, and jobs bought elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.adoption import adopt_file
from gateway.cli.filters import Key, Limit, Model, Since, Team, Until, User
from gateway.cli.progress import working
from gateway.cli.reach import WrongUsage, administration
from gateway.cli.show import AsJson, as_record, as_table, as_value, note
from gateway.core.job import State

app = typer.Typer(no_args_is_help=True, help="What became of every order.")

Id = Annotated[str, typer.Argument(metavar="ID", help="A queue_id, or a job's own id.")]
_COLUMNS = ("job", "queue_id", "state", "user", "model", "quote_usd", "created_at")
_DOUBTS = ("job", "user", "model", "in_doubt_usd", "in_doubt_since", "age", "reason")
_ENTRIES = ("id", "kind", "at", "reserved_usd", "in_doubt_usd", "settled_usd", "by", "reason")


@app.command("list")
def list_(
    *,
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    user: User = None,
    team: Team = None,
    model: Model = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    which = {"state": state, "user": user, "team": team, "model": model, "key": key}
    which |= {"since": since, "until": until}
    with administration() as doors, working("Reading jobs") as tell:
        found = doors.newest("jobs", limit, tell, **which)
    if as_json:
        as_value(found)
    elif state is State.IN_DOUBT:
        now = datetime.now(UTC)
        as_table([{**job, "age": _age(job, now)} for job in found], _DOUBTS)
    else:
        as_table(found, _COLUMNS)


def _age(job: dict[str, Any], now: datetime) -> str:
    """For how long a job is in doubt, in its largest two units."""
    minutes = (
        max(0, int((now - datetime.fromisoformat(job["in_doubt_since"])).total_seconds())) // 60
    )
    hours, days = minutes // 60, minutes // 1_440
    return f"{days}d {hours % 24}h" if days else f"{hours}h {minutes % 60}m"


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """Show a job, and every entry about its money."""
    with administration() as doors:
        _shown(doors.get("jobs", id), as_json)


@app.command()
def resolve(
    id: Id,
    why: Annotated[str, typer.Option(metavar="TEXT", help="How it is known.")],
    settle: Annotated[bool, typer.Option("--settle", help="Venice billed it.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Venice never billed it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide a job in doubt: settle its money, or release it."""
    if settle == release:
        raise WrongUsage("Give either --settle or --release.")
    body = {"decision": "settle" if settle else "release", "why": why}
    with administration() as doors:
        _shown(doors.post("jobs", id, "resolve", body=body), as_json)


@app.command()
def refetch(
    id: Id,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why it may be there after all.")],
    as_json: AsJson = False,
) -> None:
    """Have a video fetched again that was paid for and did not come."""
    with administration() as doors:
        _shown(doors.post("jobs", id, "refetch", body={"why": why}), as_json)


@app.command()
def adopt(
    queue_id: Annotated[
        str | None, typer.Argument(metavar="[QUEUE_ID]", help="Venice's id of the job.")
    ] = None,
    *,
    model: Annotated[str | None, typer.Option(help="The model it was ordered of.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose it is to be.")] = None,
    key: Annotated[
        str | None, typer.Option(help="One of the user's keys, by id or name; else the first.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(metavar="USD", help="What it cost; 0 if nothing is said.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="5s", help="As ordered: Venice is asked for the price.")
    ] = None,
    resolution: Annotated[str | None, typer.Option(metavar="720p", help="As ordered.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(metavar="16:9", help="As ordered.")] = None,
    audio: Annotated[bool | None, typer.Option("--audio/--no-audio", help="As ordered.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    created_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it was bought; else now.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One job a line, the columns named in the first; - reads"
            " stdin. What a line leaves out is taken from the options.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take over jobs that were bought elsewhere: follow, fetch and serve them from here on."""
    if (queue_id is None) == (csv is None):
        raise WrongUsage("Say which: a QUEUE_ID, or --csv FILE.")
    if queue_id is not None and (model is None or user is None):
        raise WrongUsage("Say --model and --user.")
    given = {
        "model": model,
        "user": user,
        "key": key,
        "price_usd": price,
        "duration": duration,
        "resolution": resolution,
        "aspect_ratio": aspect_ratio,
        "audio": audio,
        "tags": tag,
        "created_at": created_at,
    }
    with administration() as doors:
        if csv is not None:
            adopt_file(doors, csv, given, as_json=as_json)
            return
        job = doors.post("jobs", "adopt", body={"queue_id": queue_id, **given})
    if not job["adopted"]:
        note(f"{queue_id} is here already, nothing was changed.")
    _shown(job, as_json)


def _shown(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        as_value(job)
        return
    as_record({name: value for name, value in job.items() if name != "entries"})
    as_table(job["entries"], _ENTRIES)
