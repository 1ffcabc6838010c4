"""How commands print: one JSON value for programs, tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TextIO

import typer

NOTES = {"error": "bold red", "warning": "yellow"}
STATES = {
    **dict.fromkeys(("stored", "ok", "yes"), "green"),
    **dict.fromkeys(("reserved", "sending", "processing", "fetching"), "cyan"),
    **dict.fromkeys(("in_doubt", "warning"), "bold yellow"),
    **dict.fromkeys(
        ("settled_in_doubt", "released_in_doubt", "stalled", "undeliverable"), "yellow"
    ),
    **dict.fromkeys(("failed_billed", "failed_refunded", "lost", "problem", "no"), "red"),
    **dict.fromkeys(("released", "refused", "purged", "evicted"), "dim"),
}
MILLISECONDS = re.compile(r"(?<=T\d\d:\d\d:\d\d)\.\d{3}Z$")
ENDED = {"revoked_at": "red", "disabled_at": "red"}
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]
Row = Mapping[str, Any]


def as_value(value: Any) -> None:
    """Print one JSON value."""
    print(json.dumps(value, ensure_ascii=False))


def as_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print rows under the names of their columns."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if sys.stdout.isatty():
        _drawn(cells, columns)
        return
    lines = [list(columns), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def as_record(record: Row) -> None:
    """Print the fields of one thing, a line each; what is empty is left out."""
    shown = {name: value for name, value in record.items() if value not in (None, [], "")}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        text = _cell(value)
        print(f"{painted(name.ljust(width), 'bold')}  {painted(text, _style(name, text))}")


def note(text: str) -> None:
    """Say something beside the result; an error or a warning in its colour on a terminal."""
    kind, colon, rest = text.partition(":")
    style = NOTES.get(kind) if colon else None
    if style is not None:
        text = painted(kind, style, sys.stderr) + colon + rest
    print(text, file=sys.stderr)


def painted(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style of rich's where a terminal shows it (and `NO_COLOR` is not set)."""
    stream = stream or sys.stdout
    if not style or not stream.isatty():
        return text
    from rich.console import Console
    from rich.style import Style

    system = Console(file=stream).color_system
    return text if system is None or "NO_COLOR" in os.environ else Style.parse(style).render(text)


def _drawn(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        is_amount = column.endswith(("_usd", "_percent")) or column in ("usd", "jobs", "bytes")
        table.add_column(column, justify="right" if is_amount else "left", overflow="fold")
    for line in cells:
        named = zip(columns, line, strict=True)
        table.add_row(*(Text(_brief(text), _style(column, text)) for column, text in named))
    Console().print(table)


def _brief(text: str) -> str:
    """A time without its milliseconds; everything else as it is."""
    return MILLISECONDS.sub("Z", text)


def _style(column: str, text: str) -> str:
    """How a cell is painted: where something stands and what has ended, never amounts."""
    if text == "-":
        return "dim"
    return STATES.get(text, "") if column in ("state", "status", "ok") else ENDED.get(column, "")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    return str(value)
