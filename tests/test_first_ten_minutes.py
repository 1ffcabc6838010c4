"""The two pages of `docs/start/`, walked line by line as a newcomer would, before a simulator.

What stands behind `$` is typed into one shell, in order; what stands below it must be printed, with
`…` for anything. A page that lies fails here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.dropin import environments
from tests.gateway_process import ORGANIZATION_KEY, ROOT, GatewayProcess, with_rules
from tests.simulator_process import SimulatorProcess

START = ROOT / "docs" / "start"
WALK_SECONDS_MAX = 60.0
DOCUMENTED_URL = "http://127.0.0.1:8080"
DOCUMENTED_KEY = "vgw_…"
OWN_TERMINAL = "in a terminal of its own"
STOP = "stop what runs"
VENICE_PY = "needs venice-py"
MARK = "\x1e"
"""Printed before each step, to tell afterwards which output is whose."""

FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<language>console|sh)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

PRELUDE = """\
set -eu
terminals=
trap 'kill $terminals 2>/dev/null || true; wait' EXIT
"""
START_SECONDS_MAX = 20
IN_BACKGROUND = """\
{command} > terminal-{number} 2>&1 &
terminals="$terminals $!"
for _ in $(seq {tries}); do
  grep -q 'is ready at' terminal-{number} && break
  kill -0 $! || {{ cat terminal-{number}; exit 1; }}
  sleep 0.1
done
cat terminal-{number}
"""
STOPPED = "kill $terminals; wait; terminals=\n"

# A dollar a day, nine small videos' worth; nothing longer than ten seconds.
RULES = with_rules(policies={"default": {"each_user": {"day": 1}, "job": {"seconds": 10}}})


class PageLies(Exception):
    """Something on a page does not work, or prints other things than it says."""


@dataclass(frozen=True)
class Step:
    """Something that a reader types, and what the page says is printed then."""

    command: str
    expected: str = ""
    notes: frozenset[str] = field(default_factory=frozenset)


def steps(page: Path) -> Iterator[Step]:
    """Every step of a page, in order."""
    for fence in FENCE.finditer(page.read_text("utf-8")):
        notes = frozenset({fence["note"]} if fence["note"] else ())
        if fence["language"] == "sh":
            yield Step(fence["text"], notes=notes)
            continue
        for part in re.split(r"^\$ ", fence["text"], flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield Step(command, expected, notes)


def pattern(expected: str) -> re.Pattern[str]:
    """What output must match: `…` is anything in its line, alone on a line any lines."""
    lines = []
    for line in expected.splitlines():
        if line == "…":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            words = (r"\s+".join(map(re.escape, part.split(" "))) for part in line.split("…"))
            lines.append(r"[^\n]*".join(words) + r"\s*\n")
    return re.compile("".join(lines))


def walk(page: Path, folder: Path, given: Mapping[str, str], left_out: str = "") -> list[str]:
    """Type every step of a page; what each printed. `PageLies` where it does.

    `given` are the words of the page that stand for something else here; steps with the note
    `left_out` are not walked.
    """

    def here(text: str) -> str:
        for word, meant in given.items():
            text = text.replace(word, meant)
        return text

    taken = [step for step in steps(page) if left_out not in step.notes]
    script = PRELUDE + "".join(map(_typed, range(len(taken)), taken))
    (folder / "page.sh").write_text(here(script))
    typed_in = folder / "typed-in"
    typed_in.write_text(ORGANIZATION_KEY + "\n")
    with typed_in.open("rb") as stdin:
        done = subprocess.run(
            ["bash", "page.sh"],
            cwd=folder,
            env=_environment(folder),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WALK_SECONDS_MAX,
            check=False,
        )
    printed = done.stdout.split(MARK)[1:]
    if done.returncode != 0 or len(printed) != len(taken):
        raise PageLies(f"{taken[len(printed) - 1].command}\nended the walk: {done.stdout}")
    for step, output in zip(taken, printed, strict=True):
        # An answer of curl's ends without a newline.
        text = output.removesuffix("\n") + "\n"
        wanted = pattern(step.expected.replace(DOCUMENTED_URL, given[DOCUMENTED_URL]))
        if step.expected and not wanted.fullmatch(text):
            raise PageLies(f"{step.command}\nprinted: {text}")
    return printed


def _typed(number: int, step: Step) -> str:
    mark = f"printf '{MARK}'\n"
    if OWN_TERMINAL in step.notes:
        tries = START_SECONDS_MAX * 10
        return mark + IN_BACKGROUND.format(command=step.command, number=number, tries=tries)
    return mark + (STOPPED if STOP in step.notes else "") + step.command + "\n"


def _environment(folder: Path) -> dict[str, str]:
    """A newcomer's: nothing is set but where programs are, and what keeps a test apart."""
    settings = (folder / "environment").read_text().splitlines()
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # as on a terminal: what was said first comes first
        "NO_PROXY": "127.0.0.1",
        **dict(line.split("=", 1) for line in settings),
    }


def furnish(folder: Path, **settings: str) -> None:
    """Put the installed command on the path of a folder, and settings into its environment."""
    put_program(folder, "venice-gateway", f"PYTHONPATH={ROOT} exec {sys.executable} -m gateway")
    lines = [f"{name}={value}" for name, value in settings.items()]
    (folder / "environment").write_text("\n".join(lines))


def put_program(folder: Path, name: str, line: str) -> None:
    """Put a program on the path of a folder that hands its arguments to a line of shell."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\n{line} "$@"\n')
    program.chmod(0o755)


needs_shell = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("bash", "curl", "make")),
    reason="bash, curl or make is not on this machine",
)


@pytest.fixture(scope="module")
def users_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("users-gateway")
    with (
        SimulatorProcess(speed=80, window_scale=60, seed=1) as simulator,
        GatewayProcess(folder, simulator, policies=RULES) as running,
    ):
        yield running


def _walk_as_user(gateway: GatewayProcess, folder: Path, key: str, left_out: str) -> None:
    furnish(folder, VGW_PORT=str(gateway.port))
    (folder / "policies").mkdir()
    walk(START / "user.md", folder, {DOCUMENTED_URL: gateway.url, DOCUMENTED_KEY: key}, left_out)
    assert (folder / "first.mp4").read_bytes()[4:8] == b"ftyp"


@needs_shell
def test_a_user_gets_through_the_first_ten_minutes(
    users_gateway: GatewayProcess, tmp_path: Path
) -> None:
    _walk_as_user(users_gateway, tmp_path, users_gateway.user_key, left_out=VENICE_PY)


@needs_shell
@pytest.mark.dropin
def test_the_program_on_the_users_page_runs_with_venice_py(
    users_gateway: GatewayProcess, tmp_path: Path
) -> None:
    try:
        python = environments.python_environment("venice-py")
    except environments.Unavailable as missing:
        pytest.skip(str(missing))
    program = next(step for step in steps(START / "user.md") if "first_video.py" in step.command)
    run = next(step for step in steps(START / "user.md") if VENICE_PY in step.notes)
    furnish(
        tmp_path,
        VENICE_API_BASE_URL=f"{users_gateway.url}/api/v1",
        VENICE_API_KEY=users_gateway.add_user("ben"),
    )
    put_program(tmp_path, "python", f"exec {python}")
    subprocess.run(["bash", "-c", program.command], cwd=tmp_path, check=True)
    done = subprocess.run(
        ["bash", "-c", run.command],
        cwd=tmp_path,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=WALK_SECONDS_MAX,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, run.expected), done.stderr
    assert (tmp_path / "second.mp4").read_bytes()[4:8] == b"ftyp"


@needs_shell
def test_an_administrator_gets_through_the_first_ten_minutes(tmp_path: Path) -> None:
    clone(tmp_path)
    with SimulatorProcess(speed=80) as venice:
        port = GatewayProcess(tmp_path / "unused", venice).port
        furnish(tmp_path, VGW_PORT=str(port), VGW_UPSTREAM_URL=venice.url, VGW_LOG_LEVEL="error")
        printed = walk(
            START / "administrator.md", tmp_path, {DOCUMENTED_URL: f"http://127.0.0.1:{port}"}
        )
        assert venice.truth()["calls"], "the gateway went live before this Venice"
    assert (tmp_path / "data" / "venice.key").stat().st_mode & 0o777 == 0o600
    assert not any(ORGANIZATION_KEY in output for output in printed)


def clone(folder: Path) -> None:
    """What a clone has at its root, as if `make install` had been run there once."""
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy2(ROOT / name, folder)
    shutil.copytree(ROOT / "policies", folder / "policies")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").touch()


def test_a_page_that_lies_about_what_is_printed_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo true\nfalse\n```\n")
    furnish(tmp_path)
    with pytest.raises(PageLies, match="echo true\nprinted: true"):
        walk(page, tmp_path, {DOCUMENTED_URL: ""})


def test_a_page_with_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ true\n$ false\n$ echo never\n```\n")
    furnish(tmp_path)
    with pytest.raises(PageLies, match="false\nended the walk"):
        walk(page, tmp_path, {DOCUMENTED_URL: ""})
