"""R39: every version of the database comes up to the newest; a kill in between loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.ports import DatabaseLocked, DatabaseRefused
from gateway.storage import checks, migrate, repeated
from gateway.storage.database import FileLock, bring_up_to_date, prepare
from gateway.storage.migrate import Step
from gateway.storage.upkeep import Upkeep
from gateway.storage.writer import connect
from tests.storage.conftest import NOON

OURS = migrate.read_steps()
NEXT = (
    "ALTER TABLE users ADD COLUMN nickname TEXT;\n"
    "CREATE TABLE tags (name TEXT PRIMARY KEY, users INTEGER NOT NULL) STRICT;\n"
    "INSERT INTO tags SELECT 'all', count(*) FROM users;\n"
    "UPDATE users SET nickname = upper(name);\n"
)
RACERS = 4


@pytest.fixture
def steps(tmp_path: Path) -> list[Step]:
    """Our steps and a next one, read from a folder as ours are."""
    folder = tmp_path / "schema"
    folder.mkdir()
    for step in OURS:
        (folder / step.name).write_text(step.sql)
    (folder / f"{len(OURS) + 1:04}_next.sql").write_text(NEXT)
    return migrate.read_steps(folder)


def made_by(path: Path, steps: list[Step]) -> Path:
    """A database as a version with these steps left it, with a job and its entry in it."""
    with closing(prepare(path, "a stand-in", NOON, steps)) as connection:
        connection.execute("INSERT INTO users (name, created_at) VALUES ('anna', 1)")
        connection.execute(
            "INSERT INTO jobs (id, user, key_id, model, state, holding, quote, reserved, "
            "created_at, body_digest, policy, policy_version) VALUES "
            "('job1', 'anna', 'k', 'wan', 'reserved', 'reserved', 5, 5, 1, 'd', 'p', 'v')"
        )
        connection.execute(
            "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled) "
            "VALUES ('job1', 'reserve', 1, 5, 0, 0)"
        )
    return path


def schema_of(path: Path) -> list[tuple[str, str]]:
    with checks.reading(path) as connection:
        return sorted(connection.execute("SELECT name, sql FROM sqlite_schema").fetchall())


def content_of(path: Path) -> list[object]:
    """What no step may lose."""
    with checks.reading(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [
            connection.execute("SELECT name FROM users").fetchall(),
            connection.execute("SELECT id, reserved FROM jobs").fetchall(),
            connection.execute("SELECT job, kind, reserved FROM entries").fetchall(),
        ]


@pytest.mark.parametrize("version", [step.version for step in OURS])
def test_every_released_version_comes_up_to_the_newest(
    tmp_path: Path, steps: list[Step], version: int
) -> None:
    path = made_by(tmp_path / "gateway.db", [s for s in steps if s.version <= version])
    before = content_of(path)
    done = Upkeep(path, steps).migrate(NOON)
    assert (done.version, done.steps) == (
        steps[-1].version,
        tuple(s.name for s in steps if s.version > version),
    )
    assert content_of(path) == before
    fresh = tmp_path / "fresh.db"
    prepare(fresh, None, NOON, steps).close()
    assert schema_of(path) == schema_of(fresh)


def test_what_came_in_doubt_before_doubts_had_a_moment_is_still_found(tmp_path: Path) -> None:
    """An order that is repeated would be bought again."""
    path = made_by(tmp_path / "gateway.db", [s for s in OURS if s.version <= 7])
    with closing(connect(path)) as connection:
        connection.execute("UPDATE jobs SET state = 'sending'")
        connection.execute(
            "INSERT INTO jobs (id, user, key_id, model, state, holding, quote, in_doubt, reserved, "
            "created_at, body_digest, policy, policy_version) VALUES "
            "('job2', 'anna', 'k', 'wan', 'in_doubt', 'in_doubt', 5, 5, 0, 1, 'd', 'p', 'v')"
        )
        connection.executemany(
            "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled) VALUES "
            "('job2', ?, ?, ?, ?, 0)",
            [("reserve", 1, 5, 0), ("doubt", 7, -5, 5), ("doubt", 9, 0, 0)],
        )
        connection.execute("INSERT INTO tallies VALUES ('', 'wan', 'in_doubt', 1, 0, 5, 0, 0)")
    Upkeep(path, OURS).migrate(NOON)
    with checks.reading(path) as connection:
        moments = connection.execute("SELECT id, doubted_at FROM jobs ORDER BY id").fetchall()
        assert moments == [("job1", None), ("job2", 9)]
        asked = repeated.twins("k", "d", since=NOON, known_since=NOON)
        assert [row[0] for row in connection.execute(*asked)] == ["job2"]


def test_a_copy_of_the_old_database_is_put_beside_the_new(
    tmp_path: Path, steps: list[Step]
) -> None:
    path = made_by(tmp_path / "gateway.db", OURS)
    before = content_of(path)
    prepare(path, "a stand-in", NOON, steps).close()
    (copy,) = tmp_path.glob(f"gateway-*-version-{OURS[-1].version}.db")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert content_of(copy) == before
    assert Upkeep(copy, steps).missing().steps == (steps[-1].name,)


def test_a_new_database_is_its_owners_alone_and_one_that_is_there_stays_as_it_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gateway.db"
    with closing(prepare(path, None, NOON)):
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("gateway.db*")}
    assert modes == dict.fromkeys(("gateway.db", "gateway.db-wal", "gateway.db-shm"), 0o600)
    path.chmod(0o640)
    prepare(path, None, NOON).close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_database_needs_no_copy(tmp_path: Path, steps: list[Step]) -> None:
    prepare(tmp_path / "gateway.db", "a stand-in", NOON, steps).close()
    assert not list(tmp_path.glob("gateway-*.db"))


def test_looking_at_what_is_missing_changes_nothing(tmp_path: Path, steps: list[Step]) -> None:
    path = made_by(tmp_path / "gateway.db", OURS)
    before = path.read_bytes()
    assert Upkeep(path, steps).missing().steps == (steps[-1].name,)
    assert path.read_bytes() == before


def test_a_database_is_not_migrated_while_somebody_works_on_it(
    tmp_path: Path, steps: list[Step]
) -> None:
    path = made_by(tmp_path / "gateway.db", OURS)
    lock = FileLock(path)
    with pytest.raises(DatabaseLocked):
        Upkeep(path, steps).migrate(NOON)
    lock.release()


def test_a_step_that_does_not_fit_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = made_by(tmp_path / "gateway.db", OURS)
    before = (schema_of(path), content_of(path))
    wrong = Step(99, "0099_wrong.sql", NEXT + "INSERT INTO nowhere VALUES (1);\n")
    with closing(connect(path)) as connection, pytest.raises(DatabaseRefused, match="0099_wrong"):
        bring_up_to_date(connection, path, NOON, [*OURS, wrong])
    assert (schema_of(path), content_of(path)) == before


def test_a_newer_database_and_a_changed_step_are_refused(tmp_path: Path, steps: list[Step]) -> None:
    path = made_by(tmp_path / "gateway.db", steps)
    with pytest.raises(DatabaseRefused, match="newer than this program"):
        prepare(path, "a stand-in", NOON, OURS)
    changed = [*OURS, Step(steps[-1].version, "0002_next.sql", "SELECT 1;")]
    with pytest.raises(DatabaseRefused, match="not the one"):
        prepare(path, "a stand-in", NOON, changed)


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.storage import migrate
from gateway.storage.database import bring_up_to_date
from gateway.storage.writer import connect

folder, statement = Path(sys.argv[1]), 0
steps = migrate.read_steps(folder / "schema")
while True:
    statement += 1
    child = os.fork()
    if not child:
        path = folder / f"{statement}" / "gateway.db"
        connection, seen = connect(path), 0

        def count(_sql):
            global seen
            seen += 1
            if seen == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        connection.set_trace_callback(count)
        bring_up_to_date(connection, path, 1, steps)
        connection.close()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(statement)
"""
KILLS_PREPARED = 60
FROM_THE_FIRST = 400


@pytest.mark.parametrize(
    ("known", "prepared"),
    [
        (len(OURS), KILLS_PREPARED),
        pytest.param(1, FROM_THE_FIRST, marks=pytest.mark.torture),
    ],
    ids=["from the last version", "from the first version"],
)
@pytest.mark.timeout(600)
def test_a_kill_at_each_statement_of_a_migration_loses_nothing(
    tmp_path: Path, steps: list[Step], known: int, prepared: int
) -> None:
    original = made_by(tmp_path / "gateway.db", OURS[:known])
    before = content_of(original)
    for number in range(1, prepared):
        (tmp_path / str(number)).mkdir()
        shutil.copy(original, tmp_path / str(number))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=True
    )
    survived = int(done.stdout)
    assert survived > NEXT.count(";"), "every statement was killed at, and then none"
    versions = set()
    for number in range(1, survived + 1):
        path = tmp_path / str(number) / "gateway.db"
        # A killed writer's log is recovered by the next one to open it for writing.
        connect(path).close()
        missing = Upkeep(path, steps).missing()
        versions.add(missing.version)
        assert content_of(path) == before
        Upkeep(path, steps).migrate(NOON)
        assert content_of(path) == before
        with checks.reading(path) as connection:
            assert connection.execute("SELECT * FROM tags").fetchall() == [("all", 1)]
    assert versions == {step.version for step in steps[known - 1 :]}


RACING = """
import multiprocessing, sys
from pathlib import Path
from gateway.ports import DatabaseLocked
from gateway.storage.database import FileLock

folder, races, racers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
context = multiprocessing.get_context("fork")
barrier, wins = context.Barrier(racers), context.Value("i", 0)


def race():
    for number in range(races):
        lock = None
        barrier.wait(30)
        try:
            lock = FileLock(folder / f"race{number}.db")
        except DatabaseLocked:
            pass
        barrier.wait(30)
        if lock is not None:
            with wins:
                wins.value += 1
            lock.release()


children = [context.Process(target=race) for _ in range(racers)]
for child in children:
    child.start()
for child in children:
    child.join(60)
print(wins.value, [child.exitcode for child in children])
"""


@pytest.mark.parametrize("races", [20, pytest.param(50, marks=pytest.mark.torture)])
def test_of_those_who_race_for_a_database_one_wins(tmp_path: Path, races: int) -> None:
    """R38, its second half."""
    command = [sys.executable, "-c", RACING, str(tmp_path), str(races), str(RACERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
    assert done.stdout.strip() == f"{races} {[0] * RACERS}"


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(DatabaseRefused, match="cannot be read"):
        Upkeep(path).missing()
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(DatabaseRefused, match="no database of this gateway"):
        Upkeep(tmp_path / "other.db").back_up(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
