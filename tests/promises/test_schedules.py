"""R1: in no interleaving, and over no `kill -9`, does any window hold more than its limit."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway_process import ROOT

SCHEDULES_A_FILE = 500
"""Then a new database begins: the figure is about schedules, not about size."""
TIMES_MAX = 2
"""A life may end by itself before its kill comes. Then there are further schedules until there were
all kills, up to so many times those that were asked for."""


@pytest.mark.parametrize(
    ("schedules", "kills"), [(40, 2), pytest.param(10_000, 200, marks=pytest.mark.torture)]
)
@pytest.mark.timeout(3600)
def test_no_schedule_of_fifty_orders_at_once_passes_a_limit(
    tmp_path: Path, chance: random.Random, schedules: int, kills: int
) -> None:
    """Checked after every commit, by the entries alone."""
    seed, commits, killed, number = chance.randrange(2**32), 0, 0, 0
    most = TIMES_MAX * schedules
    print(f"schedules of seed {seed}")
    while number < schedules or (killed < kills and number < most):
        goal = schedules if number < schedules else most
        end = min(goal, (number // SCHEDULES_A_FILE + 1) * SCHEDULES_A_FILE)
        # The kills left are spread over the schedules left.
        lives = max(1, (schedules - number) // (kills - killed + 1))
        after = chance.randrange(1, 2 * lives) if killed < kills else None
        path = tmp_path / f"{number // SCHEDULES_A_FILE}" / "gateway.db"
        command = [sys.executable, "-m", "tests.promises.schedules", str(path)]
        command += [str(seed), str(number), str(end - number)]
        done, made, is_killed = _run(command, after, chance.uniform(0, 0.05))
        # The one that was cut off is left as it lies: it goes on to count against its day.
        number = min(end, number + done + is_killed)
        commits, killed = commits + made, killed + is_killed
    print(f"{number} schedules, {killed} kills, {commits} commits looked at")
    assert killed == kills
    assert commits > schedules


def _run(command: list[str], kill_after: int | None, seconds: float) -> tuple[int, int, bool]:
    """Run schedules to their end, or kill them so many seconds after one that has ended: how many
    ended, with how many commits, and whether they were killed."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        done = commits = 0
        for line in process.stdout:
            done, commits = done + 1, int(line.split()[1])
            if done == kill_after and _goes_on(process, seconds):
                process.kill()
                return done + len(process.stdout.read().splitlines()), commits, True
        assert process.wait(60) == 0, process.stderr.read()
        return done, commits, False


def _goes_on(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
