"""Prints the tables of `gateway/core/job.py` into `docs/architecture.md`, between its markers.

Run as `python -m docs.print_diagrams`; a test fails while the committed text is another one.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from gateway.core.job import JOB_TABLE, MONEY_DUE, MONEY_TABLE, Due, Holding, State

FILE = Path(__file__).with_name("architecture.md")


def job_diagram() -> str:
    """The job table as a Mermaid state diagram."""
    events: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (state, event), after in JOB_TABLE.items():
        events[state, after].append(event)
    lines = ["stateDiagram-v2", "    [*] --> reserved"]
    lines += [f"    {a} --> {b}: {' or '.join(names)}" for (a, b), names in events.items()]
    left = {state for state, _ in JOB_TABLE}
    lines += [f"    {state} --> [*]" for state in State if state not in left]
    return "\n".join(["```mermaid", *lines, "```"])


def money_table() -> str:
    """The money table: where the money is, what the new state asks, which entry follows."""
    lines = [f"| money is | {' | '.join(f'{due}' for due in Due)} |", "|---" * (len(Due) + 1) + "|"]
    for holding in Holding:
        cells = (_cell(holding, due) for due in Due)
        lines.append(f"| **{holding}** | {' | '.join(cells)} |")
    states: dict[Due, list[str]] = defaultdict(list)
    for state, due in MONEY_DUE.items():
        states[due].append(f"`{state}`")
    lines += ["", "| asked by | states |", "|---|---|"]
    lines += [f"| {due} | {', '.join(states[due])} |" for due in Due]
    return "\n".join(lines)


def _cell(holding: Holding, due: Due) -> str:
    if (holding, due) not in MONEY_TABLE:
        return "impossible"
    move = MONEY_TABLE[holding, due]
    return "–" if move is None else f"entry `{move[0]}` → {move[1]}"


PRINTED = {"job": job_diagram, "money": money_table}


def with_diagrams(text: str) -> str:
    """The text with what stands between its markers printed anew; `ValueError` without them."""
    for name, printed in PRINTED.items():
        begin, end = f"<!-- {name}: printed -->", f"<!-- {name}: end -->"
        before, rest = text.split(begin, 1)
        _, after = rest.split(end, 1)
        text = f"{before}{begin}\n{printed()}\n{end}{after}"
    return text


if __name__ == "__main__":
    FILE.write_text(with_diagrams(FILE.read_text("utf-8")), "utf-8")
