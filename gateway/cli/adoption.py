"""The lines of a CSV file as jobs to be adopted, one after the other: a line that is refused stops
no other, and sending the file again changes nothing.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from gateway.cli.reach import Doors, Refused, Silent, WrongUsage
from gateway.cli.show import as_value, note

COLUMNS = (
    "queue_id model user key price_usd duration resolution aspect_ratio audio upscale_factor "
    "tags created_at download_url"
).split()
_AUDIO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one line: `adopted`, `known` or `refused`."""

    line: int
    queue_id: str
    outcome: str
    job: str | None = None
    why: str | None = None


def adopt_file(doors: Doors, path: Path, given: Mapping[str, Any], *, as_json: bool) -> None:
    """Adopt every line; `given` fills what a line leaves out. Exit 1 where one was refused."""
    lines = _read(path)
    outcomes: list[Outcome] = []
    with _progress(len(lines), as_json=as_json) as tell:
        for number, line in lines:
            outcomes.append(_adopt_line(doors, number, line, given))
            tell(outcomes[-1])
    counts = Counter(each.outcome for each in outcomes)
    if as_json:
        as_value([asdict(each) for each in outcomes])
    else:
        kinds = (("adopted", "adopted"), ("known", "here already"), ("refused", "refused"))
        print(", ".join(f"{counts[kind]} {words}" for kind, words in kinds))
    if counts["refused"]:
        raise typer.Exit(1)


def _adopt_line(
    doors: Doors, number: int, line: Mapping[str, str], given: Mapping[str, Any]
) -> Outcome:
    queue_id = line.get("queue_id", "")
    try:
        job = doors.post("jobs", "adopt", body={**given, **_fields(line)})
    except Silent:
        raise
    except (Refused, WrongUsage) as error:
        return Outcome(number, queue_id, "refused", why=str(error))
    return Outcome(number, queue_id, "adopted" if job["adopted"] else "known", job["job"])


def _fields(line: Mapping[str, str]) -> dict[str, Any]:
    """A line as the door takes it; `WrongUsage` for what is no value of its column."""
    fields: dict[str, Any] = {name: text for name, text in line.items() if text}
    if "tags" in fields:
        fields["tags"] = fields["tags"].replace(";", " ").split()
    if "audio" in fields:
        fields["audio"] = _AUDIO.get(fields["audio"].lower(), fields["audio"])
    if fields.get("upscale_factor", "").isdecimal():
        fields["upscale_factor"] = int(fields["upscale_factor"])
    return fields


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Every line that is not empty, with its number; `WrongUsage` where the head is not ours."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines(), restkey="", skipinitialspace=True)
    head = [name.strip() for name in reader.fieldnames or ()]
    if "queue_id" not in head or (wrong := sorted(set(head) - set(COLUMNS))):
        found = f"It has {', '.join(wrong)}." if "queue_id" in head else "It has no queue_id."
        raise WrongUsage(
            f"The first line of {path} must name its columns. {found} Known ones: "
            f"{', '.join(COLUMNS)}."
        )
    reader.fieldnames = head
    return [(reader.line_num, _cells(line)) for line in reader if any(line.values())]


def _cells(line: Mapping[str, str | Sequence[str] | None]) -> dict[str, str]:
    """The cells without the space around them; what a line has too much is refused with it."""
    return {n: t.strip() if isinstance(t, str) else ",".join(t or ()) for n, t in line.items()}


@contextmanager
def _progress(total: int, *, as_json: bool) -> Iterator[Callable[[Outcome], None]]:
    """Tells each outcome: a bar and the refusals on a terminal, a line each elsewhere."""
    if as_json or not sys.stdout.isatty():
        yield (lambda each: note(_told(each)) if each.why else None) if as_json else _print
        return
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("adopting", total=total)

        def tell(each: Outcome) -> None:
            progress.advance(task)
            if each.why:
                progress.console.print(_told(each), markup=False, highlight=False)

        yield tell


def _print(each: Outcome) -> None:
    print(_told(each))


def _told(each: Outcome) -> str:
    if each.why:
        return f"line {each.line}: error: {each.queue_id}: {each.why}"
    what = "adopted as" if each.outcome == "adopted" else "is here already as"
    return f"line {each.line}: {each.queue_id} {what} {each.job}"
