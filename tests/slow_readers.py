"""Many downloads of one large video at once, most of them by clients that stop reading: what they
cost the gateway in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import Client
from tests.simulator_process import SimulatorProcess

WHOLE_READERS = 3
"""Who read to the end."""


def allowed_bytes(readers: int) -> int:
    """What so many may cost: 64 MiB, and one more for each."""
    return (64 + readers) * 2**20


async def grown_by_readers(folder: Path, readers: int, size: int) -> int:
    """By how many bytes at most a gateway grows while so many hold a download of one video each:
    most of them stop after their first bytes, and the others have to get theirs from the disk."""
    rules = with_rules(videos={"on_complete": "keep", "max_bytes": "4GiB"})
    with (
        SimulatorProcess(seed=1, no_limits=True, video_bytes_min=size) as simulator,
        GatewayProcess(folder, simulator, policies=rules) as gateway,
    ):
        return await _grown(gateway, simulator, readers)


async def _grown(gateway: GatewayProcess, simulator: SimulatorProcess, readers: int) -> int:
    simulator.faults([{"endpoint": "queue", "outcome": "ready_now"}])
    async with Client(gateway) as client:
        queue_id = await client.buy("to be read slowly")
        video = await client.finished(queue_id, 100)
    assert video.headers["content-type"] == "video/mp4"
    size, wanted = len(video.content), hashlib.sha256(video.content).hexdigest()
    del video
    path = f"/gateway/v1/videos/{queue_id}"
    key = f"Authorization: Bearer {gateway.user_key}\r\n"
    request = f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{key}\r\n".encode()
    _drop_from_memory(gateway)
    before = _memory_of(gateway.pid, "VmRSS:")
    has_peak = _forget_peak(gateway.pid)
    opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(readers)]
    for reader, writer in opened:
        writer.write(request)
        assert b" 200 " in await reader.readline()
    # Everybody had a turn once those that came last have all of it.
    whole = [_sha256_of_rest(reader, size) for reader, _ in opened[-WHOLE_READERS:]]
    assert set(await asyncio.gather(*whole)) == {wanted}
    most = _memory_of(gateway.pid, "VmHWM:") if has_peak else 0
    grown = max(most, _memory_of(gateway.pid, "VmRSS:")) - before
    for _, writer in opened:
        writer.transport.abort()
    # One turn of the loop in which they are really closed, before the gateway is stopped.
    await asyncio.sleep(0)
    print(f"{readers} readers of {size:,} bytes: {grown:,} bytes more at most")
    return grown


async def _sha256_of_rest(reader: asyncio.StreamReader, size: int) -> str:
    """The hash of a body of so many bytes, after what is left of its head."""
    await reader.readuntil(b"\r\n\r\n")
    digest = hashlib.sha256()
    while size:
        piece = await reader.read(min(size, 2**20))
        assert piece, f"{size} bytes are missing"
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


def _drop_from_memory(gateway: GatewayProcess) -> None:
    """Have the system forget what it holds of the videos, where it can be asked to."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in (gateway.data_dir / "videos").glob("??/??/*.mp4"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _forget_peak(pid: int) -> bool:
    """Let the peak of a process begin anew at what it holds now; False where that cannot be."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return True


def _memory_of(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition(name)[2].split()[0]) * 1024
