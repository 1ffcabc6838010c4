"""Puts right what is only derived, balances and tallies, from the jobs. Jobs and entries are
evidence and never touched: where these disagree, nothing is put right at all.
"""

from __future__ import annotations

import sqlite3

from gateway.ports import Unrepairable
from gateway.storage.verification import TALLIED, differing_balances, differing_jobs

_PUT_RIGHT = (
    "UPDATE balances SET reserved = reserved - ?, in_doubt = in_doubt - ?, settled = settled - ? "
    "WHERE number = ?"
)


def repair(connection: sqlite3.Connection) -> int:
    """Derive what differs anew, in the writer's transaction; how many balances differed.

    `Unrepairable` where the jobs themselves are not what their entries say.
    """
    for problem, _ in differing_jobs(connection):
        raise Unrepairable(problem)
    differing = [(*off, number) for number, _, off in differing_balances(connection)]
    connection.executemany(_PUT_RIGHT, differing)
    connection.execute("DELETE FROM tallies")
    connection.execute(f"INSERT INTO tallies {TALLIED}")
    return len(differing)
