"""Long work, shown while it lasts: a line that moves on a terminal, plain lines now and then where
nobody sees one. It goes to stderr, so that what a command prints stays what it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

SILENT_SECONDS = 2.0
"""What takes no longer is not worth a line in a log."""
LINE_EVERY_SECONDS = 10.0
_MOVES_EVERY_SECONDS = 0.2

Tell = Callable[[str], None]
"""Says how far the work is, like `12,000 entries`."""


@contextmanager
def working(what: str) -> Iterator[Tell]:
    """Show that `what` is being done, for how long, and how far it is by what the block tells."""
    how_far, ended = [""], Event()

    def tell(text: str) -> None:
        how_far[0] = text

    def line() -> str:
        return f"{what} …{f' {how_far[0]}' if how_far[0] else ''}"

    show = _moving if sys.stderr.isatty() else _in_lines
    thread = Thread(target=show, args=(line, ended), daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        ended.set()
        thread.join()


def _moving(line: Callable[[], str], ended: Event) -> None:
    if ended.wait(_MOVES_EVERY_SECONDS):
        return
    # Imported here, like all that only a terminal needs.
    from rich.console import Console

    began = time.monotonic() - _MOVES_EVERY_SECONDS
    with Console(stderr=True).status("") as status:
        while not ended.is_set():
            status.update(f"{line()} [dim]{time.monotonic() - began:.0f} s[/dim]")
            ended.wait(_MOVES_EVERY_SECONDS)


def _in_lines(line: Callable[[], str], ended: Event) -> None:
    seconds = SILENT_SECONDS
    while not ended.wait(seconds):
        print(line(), file=sys.stderr, flush=True)
        seconds = LINE_EVERY_SECONDS
