"""Prints what commands show on a terminal into `docs/images/`, from a demonstration run for it.

Run as `python -m docs.print_screens`, when a command shows something else than it did. What differs
from run to run (ports, folders) is told as a reader would have it; keys never get into a picture.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.terminal import Terminal

ROOT = Path(__file__).parent.parent
FOLDER = Path(__file__).with_name("images")
COLUMNS = 148
SCREENS = {
    "job-list": ("job", "list", "--limit", "16"),
    "spend": ("spend", "--by", "user"),
    "policy-show": ("policy", "show", "bo"),
    "key-list": ("key", "list"),
    "ledger-verify": ("ledger", "verify"),
    "doctor": ("doctor",),
}
"""Each picture, and the command that it shows."""
ACTS_SECONDS = 20
"""After so long the demonstration has shown most ways in which a job can end."""
PORT = re.compile(r"(127\.0\.0\.1(?::| port ))\d+")
FOREIGN = re.compile(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", re.DOTALL)
"""rich would have a browser fetch its font; whichever is there will do."""
PROGRESS_ENDS = "\x1b[2K"
"""Erases the line of progress, after which comes what the command prints."""


def main() -> None:
    """Print every screen."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, demonstration(Path(name)) as environment:
        for screen, words in SCREENS.items():
            command = [sys.executable, "-m", "gateway", *words]
            with Terminal(command, environment, Path(name), COLUMNS) as terminal:
                terminal.end()
            shown = PORT.sub(r"\g<1>8080", terminal.shown).replace(name, "/srv/gateway")
            shown = re.sub(r"\x1b\[(\?25[lh]|\d*A)|\r", "", shown.split(PROGRESS_ENDS)[-1])
            title = " ".join(("venice-gateway", *words))
            (FOLDER / f"{screen}.svg").write_text(drawn(f"$ {title}\n{shown}", title), "utf-8")


def drawn(shown: str, title: str) -> str:
    """A terminal's text, colours and all, as a picture."""
    text = Text.from_ansi(shown)
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(text, soft_wrap=True)
    plain = FOREIGN.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title=title, code_format=plain, unique_id="screen")


@contextmanager
def demonstration(folder: Path) -> Iterator[Mapping[str, str]]:
    """A demonstration at work; the environment in which its commands are typed."""
    ports = [_free_port(), _free_port()]
    shutil.copytree(ROOT / "policies", folder / "policies")
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo"],
        env={**clean, "VGW_PORT": str(ports[0])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = ""
        while "-o video.mp4" not in printed:
            printed += process.stdout.readline()
        time.sleep(ACTS_SECONDS)
        (key_file,) = re.findall(r"VGW_ADMIN_KEY_FILE=(\S+)", printed)
        (venice,) = re.findall(r"(http\S+/api/v1) +\(simulated", printed)
        yield {
            **clean,
            "VGW_URL": f"http://127.0.0.1:{ports[0]}",
            "VGW_ADMIN_KEY_FILE": key_file,
            # For `doctor`, which looks at a gateway that would be started here.
            "VGW_UPSTREAM_URL": venice,
            "VENICE_API_KEY": "a-key-for-the-stand-in",
            "VGW_PORT": str(ports[1]),
        }
    finally:
        process.terminate()
        process.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
