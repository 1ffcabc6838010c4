"""The videos: whole mp4 files that play, each job's own, and the ways they can be broken."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from gateway.simulator.corruption import CORRUPTIONS, corrupted
from gateway.simulator.video import SimulatedVideo, simulated_video

SHAPES = [None, "16:9", "9:16", "1:1"]


def video(name: str = "a job", seconds: str = "5", **changes: Any) -> SimulatedVideo:
    arguments: dict[str, Any] = {
        "aspect_ratio": None,
        "bytes_min": 0,
        "is_placeholder": False,
        **changes,
    }
    return simulated_video(name, Decimal(seconds), **arguments)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset < len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        assert 8 <= size <= len(data) - offset
        yield name, data[offset + 8 : offset + size]
        offset += size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seconds", ["1", "4.37", "5", "30"])
def test_a_video_is_whole_and_large_enough(shape: str | None, seconds: str) -> None:
    made = video(seconds=seconds, aspect_ratio=shape)
    data = made.to_bytes()
    assert len(data) == made.size >= 120_000
    assert [name for name, _ in boxes(data)] == [b"ftyp", b"free", b"moov", b"mdat"]


def test_the_index_tells_the_jobs_length_in_milliseconds() -> None:
    movie = dict(boxes(video(seconds="4.37").to_bytes()))[b"moov"]
    header = dict(boxes(movie))[b"mvhd"]
    assert struct.unpack_from(">II", header, 12) == (1000, 4370)


def test_each_job_has_a_video_of_its_own_and_always_the_same() -> None:
    videos = {video(f"job {number}").to_bytes() for number in range(20)}
    assert len(videos) == 20
    assert video("job 3").to_bytes() in videos


def test_no_start_code_arises_in_a_frame() -> None:
    frames, offset = dict(boxes(video().to_bytes()))[b"mdat"], 0
    while offset < len(frames):
        (size,) = struct.unpack_from(">I", frames, offset)
        frame = frames[offset + 4 : offset + 4 + size]
        assert not any(bytes([0, 0, low]) in frame for low in range(3))
        offset += 4 + size


def test_larger_videos_are_made_frame_by_frame() -> None:
    made = video(bytes_min=50_000_000)
    assert 50_000_000 <= made.size < 52_000_000
    assert max(len(chunk) for chunk in made.chunks()) < 1_000_000


def test_a_usual_video_is_made_in_milliseconds() -> None:
    video("warm up").to_bytes()
    took = []
    for number in range(5):
        began = perf_counter()
        video(f"job {number}").to_bytes()
        took.append(perf_counter() - began)
    assert min(took) < 0.02


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("changes", [{}, {"aspect_ratio": "9:16"}, {"is_placeholder": True}])
def test_every_frame_decodes(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(video(**changes).to_bytes())
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "framemd5", "-"]
    decoded = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert decoded.stderr == ""
    frames = [line for line in decoded.stdout.splitlines() if not line.startswith("#")]
    assert len(frames) == 40


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_video_is_no_whole_mp4(name: str) -> None:
    whole = video().to_bytes()
    broken = corrupted(name, whole)
    assert broken != whole
    try:
        names = [box for box, _ in boxes(broken)]
    except (AssertionError, struct.error):
        return
    assert names[:1] != [b"ftyp"] or not {b"moov", b"mdat"} <= set(names)


def test_there_are_enough_ways_to_break_a_video() -> None:
    assert len(CORRUPTIONS) >= 12
    assert len({corrupted(name, video().to_bytes()) for name in CORRUPTIONS}) == len(CORRUPTIONS)
