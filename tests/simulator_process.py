"""A simulator in a process of its own for tests: real HTTP, real kills, always the same port."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent


class SimulatorProcess:
    """Runs ``python -m gateway.simulator`` with the given options while the context lasts.

    Options are those of the command line without dashes: ``SimulatorProcess(speed=60, seed=1)``;
    True stands for a flag, a list repeats the option.
    """

    def __init__(self, data_dir: Path | None = None, **options: Any) -> None:
        self._options = options if data_dir is None else {"data_dir": data_dir, **options}
        self._port = 0  # any free one at first, the same one ever after
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        """The URL without ``/api/v1``, under which the control pages lie."""
        return self.url.removesuffix("/api/v1")

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "gateway.simulator", "--port", str(self._port)]
        self._process = subprocess.Popen(
            command + _arguments(self._options), stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise RuntimeError("the simulator did not start; its reason is on stderr")
        self._port = int(self.origin.rpartition(":")[2])

    def stop(self) -> None:
        """End it in order; nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would, without a chance to write anything."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port; kills it first if it still runs."""
        self.kill()
        self.start()

    def truth(self, since: int = 0) -> dict[str, Any]:
        """What really happened, calls only from after ``since``."""
        truth: dict[str, Any] = self.control("GET", f"/_truth?since={since}")
        return truth

    def forget(self) -> None:
        """Forget all calls, jobs and money."""
        self.control("DELETE", "/_truth")

    def faults(self, rules: Sequence[dict[str, Any]]) -> None:
        """Put these fault rules in place of all others."""
        self.control("PUT", "/_faults", rules)

    def bill(self) -> list[dict[str, Any]]:
        """All rows of the account's bill."""
        rows: list[dict[str, Any]] = self.control("GET", "/_bill")
        return rows

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call a control page; raises HTTPError if it refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.origin + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        os.kill(self._process.pid, number)
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None


def _arguments(options: dict[str, Any]) -> list[str]:
    arguments: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(flag)
        elif isinstance(value, list):
            arguments += [part for each in value for part in (flag, str(each))]
        else:
            arguments += [flag, str(value)]
    return arguments
