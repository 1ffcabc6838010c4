"""The clients, how each is told where its API is, and one way to run any of them through a job.

Each runs as a process of its own with an environment that holds nothing but what is listed here, so
that no setting of this machine reaches it. It prints one line of JSON with what it saw.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dropin import environments

HERE = Path(__file__).parent
RUN_SECONDS_MAX = 60.0  # the simulator makes a video in 1-2 s; the slowest client polls a few times

# One model of each kind: bytes from retrieve, and a link told once in the queue answer.
NORMAL = "wan-2.5-preview-text-to-video"
PRIVATE = "grok-imagine-text-to-video-private"


@dataclass(frozen=True)
class Client:
    """A program that talks to Venice, and the names of the settings that lead it elsewhere.

    `completes`: it completes the job and tells whether that succeeded.
    """

    name: str
    driver: str
    command: Callable[[], list[str]]
    key_variable: str
    url_variable: str
    url_path: str
    quotes: bool = True
    completes: bool = True
    wants_json: bool = False

    def __str__(self) -> str:
        return self.name


class ClientFailed(Exception):
    """The client ended with an error; the text is what it printed."""


class ClientHung(ClientFailed):
    """The client came to no end of its own."""


def _python() -> list[str]:
    return [sys.executable]


def _venv(name: str) -> Callable[[], list[str]]:
    return lambda: [str(environments.python_environment(name))]


def _node() -> list[str]:
    return [environments.node()]


CLIENTS = (
    Client("guide-python", "guide_sample.py", _python, "VENICE_API_KEY", "VENICE_URL", "/api/v1"),
    Client(
        "guide-node",  # leaves completion to `delete_media_on_completion`
        "guide_sample.mjs",
        _node,
        "VENICE_API_KEY",
        "VENICE_URL",
        "/api/v1",
        completes=False,
    ),
    Client(
        "venice-py",
        "venice_py_job.py",
        _venv("venice-py"),
        "VENICE_API_KEY",
        "VENICE_API_BASE_URL",
        "/api/v1",
    ),
    Client(
        "venice-py-bare-host",  # the same client, told only a host
        "venice_py_job.py",
        _venv("venice-py"),
        "VENICE_API_KEY",
        "VENICE_API_BASE_URL",
        "",
    ),
    Client(
        "venice-cli",
        "venice_cli_job.mjs",
        _node,
        "VENICE_API_KEY",
        "VENICE_API_BASE_URL",
        "/api/v1",
        quotes=False,
        completes=False,
        wants_json=True,
    ),
    Client(
        "venice-sdk",
        "venice_sdk_job.py",
        _venv("venice-sdk"),
        "VENICE_API_KEY",
        "VENICE_BASE_URL",
        "/api/v1",
    ),
    # Takes its URL as a constructor's argument only; the driver hands this variable to it. It
    # completes the job too, but keeps to itself whether that succeeded.
    Client(
        "venice-video-harness",
        "harness_job.mjs",
        _node,
        "VENICE_API_KEY",
        "VENICE_URL",
        "",
        completes=False,
    ),
)

# Where a Node client's packages are.
NODE_PACKAGES = {"venice-cli": "venice-cli", "venice-video-harness": "venice-video-harness"}


def run_job(
    client: Client,
    *,
    url: str,
    key: str,
    model: str,
    output: Path,
    home: Path,
    pause: Path | None = None,
    patience: float | None = None,
) -> Mapping[str, Any]:
    """Runs one job from quote to saved mp4 to complete, as far as this client goes.

    `url` is the server's, without a path; `home` is a folder the client may fill as it likes. With
    `pause` the client makes that file after its order and waits until it is gone. With `patience`
    it waits so many seconds for the answer to its order, and not the minutes that it would.
    Raises `Unavailable` where the client cannot be had and `ClientFailed` where it gave up.
    """
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "LANG": "C.UTF-8",
        "NO_UPDATE_NOTIFIER": "1",  # some clients ask their registry for a newer version
        client.key_variable: key,
        client.url_variable: url + client.url_path,
        "JOB_MODEL": model,
        "JOB_OUTPUT": str(output),
    }
    if pause is not None:
        environment["JOB_PAUSE"] = str(pause)
    if patience is not None:
        environment["JOB_PATIENCE_SECONDS"] = str(patience)
    if client.name in NODE_PACKAGES:
        packages = environments.node_environment(NODE_PACKAGES[client.name])
        environment["JOB_PACKAGES"] = str(packages / "node_modules")
    command = [*client.command(), str(HERE / client.driver)]
    try:
        done = subprocess.run(
            command,
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientHung(f"{client}: no end within {RUN_SECONDS_MAX:.0f} s: {error}") from error
    if done.returncode != 0:
        raise ClientFailed(f"{client}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    seen: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return seen


def main() -> None:
    """Runs clients against any server that speaks Venice's API and prints what each saw."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("url", help="http://HOST:PORT, without a path")
    parser.add_argument("key")
    parser.add_argument("--client", action="append", choices=[c.name for c in CLIENTS])
    parser.add_argument("--model", action="append")
    chosen = parser.parse_args()
    for client in CLIENTS:
        if chosen.client and client.name not in chosen.client:
            continue
        for model in chosen.model or (NORMAL, PRIVATE):
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder)
                try:
                    seen: object = run_job(
                        client,
                        url=chosen.url.rstrip("/"),
                        key=chosen.key,
                        model=model,
                        output=home / "video.mp4",
                        home=home,
                    )
                except (ClientFailed, environments.Unavailable) as error:
                    seen = f"{type(error).__name__}: {error}"
                print(f"{client.name:22} {model:36} {seen}")


if __name__ == "__main__":
    main()
