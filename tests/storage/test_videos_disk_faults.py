"""Whatever happens to the process or the disk while a video is filled, nobody ever sees a part of
one, and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pytest

from gateway.ports import StoredVideo, StoreFailure, StoreFull
from gateway.storage.videos_disk import DiskVideoStore, name_of
from tests.missing import missing
from tests.storage.fill_videos import VIDEO_BYTES, video_of
from tests.storage.sample_videos import in_chunks

PROGRAM = (sys.executable, "-m", "tests.storage.fill_videos")
HERE = Path(__file__).parents[2]
STRACE = shutil.which("strace")
SECONDS_MAX = 30
KNOWN_NAMES = """
import asyncio, pathlib, secrets, sys
secrets.token_hex = lambda _: "known"
from tests.storage.fill_videos import main
asyncio.run(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
"""
"""The same program with no chance in the names of its files: faults are planted in calls about a
path, or those of the interpreter itself would fail as well."""
ERRORS = {"ENOSPC": "StoreFull", "EIO": "StoreFailure"}
FILL_STEPS = {
    "openat": 6,
    "fallocate": 1,
    "write": 3,
    "pread64": 3,
    "fsync": 6,
    "mkdir": 2,
    "rename": 1,
    "close": 6,
}
"""The calls of a fill that can fail it, and at least how often each is made."""
OFTEN_TRIED = [("write", "ENOSPC"), ("mkdir", "EIO"), ("rename", "EIO")]
"""These on every run; all of them among the long tests."""


@cache
def why_no_strace() -> str | None:
    if STRACE is None:
        return "no strace here: faults of single system calls are NOT tested"
    probe = subprocess.run(
        [STRACE, "-f", "--seccomp-bpf", "-e", "trace=fsync", "-o", "/dev/null", "true"], check=False
    )
    return "strace may not trace here: single faults are NOT tested" if probe.returncode else None


@pytest.fixture
def strace() -> None:
    if (reason := why_no_strace()) is not None:
        missing(reason)


@dataclass(frozen=True)
class Run:
    """What became of a run of the filling program, and of each video it tried."""

    status: int
    outcomes: dict[str, str]
    pause_ms: int

    @property
    def acknowledged(self) -> dict[str, str]:
        return {job: text for job, text in self.outcomes.items() if len(text) == 64}


def traced(root: Path, *faults: str, count: int = 1, about: Sequence[Path] = ()) -> Run:
    """Fill `count` videos with faults planted, in calls about these paths alone where given."""
    calls = ",".join(fault.split(":", 1)[0] for fault in faults)
    command = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    command += [part for path in about for part in ("-P", str(path))]
    program = (sys.executable, "-c", KNOWN_NAMES) if about else PROGRAM
    if not any("signal=" in fault for fault in faults):
        command.append("--seccomp-bpf")  # faster, but with it a later signal is never sent
    for fault in faults:
        command += ["-e", f"inject={fault}"]
    DiskVideoStore(root)
    done = subprocess.run(
        [*command, *program, str(root), "0", str(count)],
        capture_output=True,
        text=True,
        cwd=HERE,
        timeout=SECONDS_MAX,
        check=False,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return Run(
        status=done.returncode,
        outcomes={job: outcome for job, outcome, _ in lines},
        pause_ms=max((int(pause) for _, _, pause in lines), default=0),
    )


def found_whole(root: Path, numbers: range) -> set[str]:
    """Jobs whose videos are there; fails where a visible file is not a whole video of its job."""
    jobs = {name_of(f"job-{number}"): number for number in numbers}
    found = set()
    for path in root.glob("??/??/*"):
        number = jobs[path.stem]
        assert path.read_bytes() == video_of(number), f"{path} is not the whole video"
        found.add(f"job-{number}")
    return found


async def open_all(root: Path, recorded: dict[str, str]) -> None:
    """Everything acknowledged opens in a new process."""
    store = DiskVideoStore(root)
    await store.sweep()
    assert not list((root / "incoming").iterdir())
    for job, sha256 in recorded.items():
        video = await store.open(job, StoredVideo(sha256, VIDEO_BYTES))
        assert video is not None
        video.close()


def check_after_kill(root: Path, numbers: range, recorded: dict[str, str]) -> None:
    assert recorded.keys() <= found_whole(root, numbers)
    asyncio.run(open_all(root, recorded))


def kill_at_each(call: str, folder: Path) -> list[int]:
    """Kill a fill at its first, second, ... such call; until one is not reached any more."""
    statuses = []
    for turn in range(1, 20):
        root = folder / f"{call}-{turn}"
        run = traced(root, f"{call}:signal=KILL:when={turn}")
        check_after_kill(root, range(1), run.acknowledged)
        statuses.append(run.status)
        if run.status == 0:
            break
    return statuses


def test_a_kill_at_any_step_shows_a_whole_video_or_none(strace: None, tmp_path: Path) -> None:
    steps = {"fallocate": 1, "write": 3, "fsync": 6, "mkdir": 2, "rename": 1, "unlink": 1}
    with ThreadPoolExecutor(4) as threads:
        statuses = dict(
            zip(steps, threads.map(partial(kill_at_each, folder=tmp_path), steps), strict=True)
        )
    for call, times in steps.items():
        assert statuses[call][-1] == 0, f"{call}: a fill never ended"
        assert len(statuses[call]) > times, f"{call}: fewer steps than known: {statuses[call]}"
        assert 0 not in statuses[call][:-1]


def paths_of_a_fill(root: Path, job: str) -> list[Path]:
    """Everything that a fill touches: its file under both names, and the folders above them."""
    name = name_of(job)
    final = root / name[:2] / name[2:4] / f"{name}.mp4"
    part = root / "incoming" / f"{name}.known.part"
    return [part, final, final.parent, final.parent.parent, root]


def fail_at_each(call: str, error: str, folder: Path) -> list[str]:
    """Fail the first, second, ... such call of a fill; what became of it, until none is left."""
    outcomes = []
    for turn in range(1, 20):
        root = folder / f"{call}-{error}-{turn}"
        fault = f"{call}:error={error}:when={turn}"
        run = traced(root, fault, count=2, about=paths_of_a_fill(root, "job-0"))
        assert run.status == 0
        # A fault that the first fill did not meet may have been the second one's.
        assert run.acknowledged, f"{fault}: the fill after it"
        assert run.acknowledged.keys() <= found_whole(root, range(2)), fault
        assert not list((root / "incoming").iterdir()), fault
        # What failed can be filled again, over whatever the first try left.
        again = asyncio.run(fill(DiskVideoStore(root), 0, VIDEO_BYTES))
        check_after_kill(root, range(2), {**run.acknowledged, "job-0": again.sha256})
        outcomes.append(run.outcomes["job-0"])
        if "job-0" in run.acknowledged:
            break
    return outcomes


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(call, error, marks=[] if (call, error) in OFTEN_TRIED else pytest.mark.torture)
        for call in FILL_STEPS
        for error in ERRORS
    ],
)
def test_a_fill_that_fails_at_any_step_acknowledges_nothing_and_leaves_no_part(
    strace: None, tmp_path: Path, call: str, error: str
) -> None:
    *failed, last = fail_at_each(call, error, tmp_path)
    assert len(last) == 64, "a fill never ended"
    assert set(failed) == {ERRORS[error]}
    assert len(failed) >= FILL_STEPS[call], f"fewer steps than known: {failed}"


@pytest.mark.parametrize("error", ERRORS)
def test_what_cannot_be_cleared_away_is_never_seen_and_goes_at_the_next_start(
    strace: None, tmp_path: Path, error: str
) -> None:
    """The first fill fails and its part cannot be removed; of the second nothing is left anyway."""
    run = traced(
        tmp_path, f"write:error={error}:when=2", f"unlink:error={error}:when=1..2", count=2
    )
    assert run.status == 0
    assert run.outcomes["job-0"] == ERRORS[error]
    assert found_whole(tmp_path, range(2)) == run.acknowledged.keys() == {"job-1"}
    assert len(list((tmp_path / "incoming").iterdir())) == 1
    asyncio.run(open_all(tmp_path, run.acknowledged))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("ENOSPC", "StoreFull"),
        ("EDQUOT", "StoreFull"),
        ("EIO", "StoreFailure"),
        ("EROFS", "StoreFailure"),
    ],
)
def test_a_failing_call_is_named_and_leaves_no_part(
    strace: None, tmp_path: Path, error: str, outcome: str
) -> None:
    """The first fill fails reserving space, the next writing, making a folder, renaming."""
    steps = ("fallocate", "write", "mkdir", "rename")
    whens = {"write": 2}
    run = traced(
        tmp_path, *(f"{call}:error={error}:when={whens.get(call, 1)}" for call in steps), count=5
    )
    assert run.status == 0
    assert list(run.outcomes.values())[:4] == [outcome] * 4
    assert found_whole(tmp_path, range(5)) == run.acknowledged.keys() == {"job-4"}
    assert not list((tmp_path / "incoming").iterdir())


def test_a_disk_that_cannot_reserve_space_still_stores(strace: None, tmp_path: Path) -> None:
    run = traced(tmp_path, "fallocate:error=EOPNOTSUPP")
    assert found_whole(tmp_path, range(1)) == run.acknowledged.keys() == {"job-0"}


@pytest.mark.parametrize("step", [1, 4, 6])
def test_what_could_not_be_made_durable_is_never_acknowledged(
    strace: None, tmp_path: Path, step: int
) -> None:
    """The disk fails at one fsync: of the file, of the folder of its name, of the root.

    A fill has six, with those of two new folders. The second call fails, so the first fill does;
    the second one passes; of the third it is the call numbered `step`.
    """
    run = traced(tmp_path, f"fsync:error=EIO:when=2+{6 + step}", count=4)
    assert run.status == 0
    assert run.outcomes["job-0"] == run.outcomes["job-2"] == "StoreFailure"
    assert run.acknowledged.keys() == {"job-1", "job-3"}
    assert not list((tmp_path / "incoming").iterdir())
    check_after_kill(tmp_path, range(4), run.acknowledged)


def test_a_slow_disk_never_holds_the_event_loop(strace: None, tmp_path: Path) -> None:
    run = traced(tmp_path, "fsync:delay_enter=500000:when=1")
    assert run.acknowledged
    assert run.pause_ms < 250


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.torture)])
def test_kills_at_random_lose_nothing_acknowledged(tmp_path: Path, kills: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    recorded: dict[str, str] = {}
    for kill in range(kills):
        first = kill * 1_000
        with subprocess.Popen(
            [*PROGRAM, str(tmp_path), str(first), "1000"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                job, recorded[job], _ = line.split()
                if chance.random() < 0.2:
                    process.kill()
    check_after_kill(tmp_path, range(kills * 1_000), recorded)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one video and a half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={VIDEO_BYTES * 3 // 2}", "small", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("no right to mount here: a full and a read-only disk are NOT tested")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def fill(store: DiskVideoStore, number: int, announced: int | None) -> StoredVideo:
    return await store.fill(f"job-{number}", in_chunks(video_of(number)), announced)


@pytest.mark.parametrize("announced", [VIDEO_BYTES, None])
async def test_a_full_disk_keeps_what_is_there_and_recovers_with_room(
    small_disk: Path, announced: int | None
) -> None:
    store = DiskVideoStore(small_disk / "videos")
    first = await fill(store, 0, announced)
    with pytest.raises(StoreFull):
        await fill(store, 1, announced)
    assert await store.ids() == [name_of("job-0")]
    await open_all(small_disk / "videos", {"job-0": first.sha256})
    assert VIDEO_BYTES // 4 < store.free_bytes() < VIDEO_BYTES
    await store.delete("job-0")
    await fill(store, 1, announced)
    assert found_whole(small_disk / "videos", range(2)) == {"job-1"}


async def test_a_video_that_cannot_fit_is_refused_before_its_first_byte(small_disk: Path) -> None:
    asked = False

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b""

    with pytest.raises(StoreFull):
        await DiskVideoStore(small_disk).fill("job", chunks(), 2 * VIDEO_BYTES)
    assert not asked


async def test_a_read_only_disk_still_serves(small_disk: Path) -> None:
    store = DiskVideoStore(small_disk)
    recorded = await fill(store, 0, VIDEO_BYTES)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    assert await (await asyncio.create_subprocess_exec(*remount)).wait() == 0
    with pytest.raises(StoreFailure) as caught:
        await fill(store, 1, VIDEO_BYTES)
    assert not isinstance(caught.value, StoreFull)
    with pytest.raises(StoreFailure):
        await store.delete("job-0")
    video = await store.open("job-0", recorded)
    assert video is not None
    video.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: NOT tested as root")
async def test_a_folder_without_the_right_to_write_is_our_fault(tmp_path: Path) -> None:
    store = DiskVideoStore(tmp_path / "videos")
    (tmp_path / "videos" / "incoming").chmod(0o500)
    with pytest.raises(StoreFailure):
        await fill(store, 0, VIDEO_BYTES)
