"""Commands on a terminal of their own, as people meet them: prompts, tables, colours, progress."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

LINES = 50
ANSWER_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.1


class Terminal:
    """A command that believes to be typed by somebody; what it shows is kept, colours and all."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], cwd: Path, columns: int = 160
    ) -> None:
        self.shown = ""
        # The inner end stays open here too: what was shown last is lost where nobody has it.
        self._descriptor, self._inner = pty.openpty()
        size = struct.pack("HHHH", LINES, columns, 0, 0)
        fcntl.ioctl(self._inner, termios.TIOCSWINSZ, size)
        self._process = subprocess.Popen(
            list(words),
            env={"TERM": "xterm-256color", **environment, "COLUMNS": str(columns)},
            cwd=cwd,
            stdin=self._inner,
            stdout=self._inner,
            stderr=self._inner,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._inner)
        os.close(self._descriptor)

    def until(self, mark: str) -> str:
        """All that is shown up to a text; `AssertionError` where it does not come."""
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while mark not in self.shown:
            assert self._read(deadline), f"{mark!r} is not shown: {self.shown}"
        return self.shown

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._descriptor, f"{text}\n".encode())

    def end(self) -> int:
        """Wait for the command's end; its exit status."""
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while self._read(deadline):
            pass
        return self._process.wait(ANSWER_SECONDS_MAX)

    def _read(self, deadline: float) -> bool:
        """Take what is shown next; whether there was anything before the end or the deadline."""
        while time.monotonic() < deadline:
            has_ended = self._process.poll() is not None
            ready, _, _ = select.select([self._descriptor], [], [], LOOK_SECONDS)
            if ready:
                part = os.read(self._descriptor, 65_536)
                self.shown += part.decode("utf-8", "replace").replace("\r\n", "\n")
                return True
            if has_ended:
                break
        return False
