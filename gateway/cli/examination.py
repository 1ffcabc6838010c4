"""What `doctor` looks at on this machine: each check is one function that says one thing.

Nothing is repaired here, and no secret is ever part of a message.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gateway.cli.liveness import is_live
from gateway.core.policy import VideoRules
from gateway.policies import BadPolicy, LoadedRules, load_rules
from gateway.setting_values import is_loopback
from gateway.settings import Settings

Status = Literal["ok", "warning", "problem"]

_NETWORK_TYPES = frozenset(
    """nfs nfs4 cifs smb2 smb3 smbfs 9p afs ceph lustre ncpfs beegfs gfs2 ocfs2 fuse.sshfs
    fuse.ceph fuse.glusterfs fuse.s3fs fuse.rclone glusterfs""".split()
)
"""Their locks and syncs cannot be relied upon, and SQLite relies on both."""
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what to do where it is not well."""

    name: str
    status: Status
    message: str


def check_rules(settings: Settings) -> tuple[Check, LoadedRules | None]:
    """Whether the policies can be used; file, line and reason of everything that keeps them."""
    try:
        loaded = load_rules(settings.policies)
    except BadPolicy as error:
        found = "; ".join(map(str, error.problems))
        return Check("policies", "problem", f"{found}. `policy check` shows it again."), None
    if loaded.warnings:
        return Check("policies", "warning", "; ".join(loaded.warnings)), loaded
    return Check("policies", "ok", f"{settings.policies}, version {loaded.version}"), loaded


def check_machine(settings: Settings, videos: VideoRules) -> Iterator[Check]:
    """Everything that can be looked at without asking Venice."""
    yield check_data_dir(settings.data_dir)
    yield check_disk(settings.video_dir, videos.free_disk)
    yield check_database(settings.database_path, mounts())
    yield check_port(settings)
    yield check_public_url(settings)
    yield check_admin_key(settings)


def check_data_dir(data_dir: Path) -> Check:
    """Whether the gateway can write where it keeps everything."""
    name, place = "data directory", _nearest(data_dir)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        hint = f"Make it writable for the user {os.getuid()}, or set VGW_DATA_DIR."
        return Check(name, "problem", f"{place} cannot be written to: {error.strerror}. {hint}")
    made = "" if place == data_dir else " (made at the first start)"
    return Check(name, "ok", f"{data_dir}{made}")


def check_disk(video_dir: Path, wanted: int) -> Check:
    """Whether there is more room than the policies say must stay free."""
    free = shutil.disk_usage(_nearest(video_dir)).free
    told = f"{_gib(free)} free, {_gib(wanted)} are to stay free (videos.free_disk)"
    if free <= wanted:
        return Check("disk", "problem", f"{told}: no order is taken. Make room, or lower it.")
    if free < 2 * wanted:
        return Check("disk", "warning", f"{told}: orders stop when that is reached.")
    return Check("disk", "ok", told)


def mounts() -> str:
    """What is mounted where on this machine; empty on systems that do not tell it this way."""
    try:
        return _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return ""


def check_database(database: Path, mountinfo: str) -> Check:
    """Whether the database is on a disk of this machine."""
    kind = file_system(mountinfo, _nearest(database).resolve())
    if kind in _NETWORK_TYPES:
        hint = "SQLite loses data there. Set VGW_DATABASE_URL to a file on a local disk."
        return Check(
            "database", "problem", f"{database} is on a network file system ({kind}). {hint}"
        )
    return Check("database", "ok", f"{database} ({kind or 'unknown file system'})")


def file_system(mountinfo: str, path: Path) -> str | None:
    """The type of the file system that holds a path, by /proc/self/mountinfo (proc(5))."""
    best, kind = -1, None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mounted = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        # Of several mounts on one place the last one covers the others.
        if path.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), after.split(" ")[0]
    return kind


def check_port(settings: Settings) -> Check:
    """Whether the port can be had, or our own gateway has it already."""
    name, where = "port", f"{settings.host} port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the gateway does, so that connections that have just ended are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            hint = "Set VGW_HOST and VGW_PORT to what this machine has."
            return Check(name, "problem", f"{where}: {error.strerror or error}. {hint}")
        return _taken(settings, where)
    return Check(name, "ok", f"{where} is free")


def _taken(settings: Settings, where: str) -> Check:
    url = settings.listening_url
    if not is_live(url):
        hint = "Set VGW_PORT to a free one, or stop that program."
        return Check("port", "problem", f"{where} is taken by another program. {hint}")
    if _owner(settings.database_path) == url:
        return Check("port", "ok", f"{where} is taken by this gateway, which runs")
    hint = "Set VGW_PORT to a free one."
    return Check("port", "problem", f"{where} is taken by another venice-gateway. {hint}")


def _owner(database: Path) -> str:
    """Where the gateway that has the database says that it listens."""
    try:
        return database.with_name(database.name + ".lock").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def check_public_url(settings: Settings) -> Check:
    """Whether links to videos lead somewhere, and not in the open."""
    url = settings.public_url
    if url.startswith("http:") and not is_loopback(urlsplit(url).hostname or ""):
        hint = "Put TLS before the gateway and set VGW_PUBLIC_URL to https://…"
        return Check("public url", "warning", f"{url}: keys travel readable. {hint}")
    return Check("public url", "ok", url)


def check_admin_key(settings: Settings) -> Check:
    """Whether anybody else can read the key of administration."""
    name, path = "admin key", settings.data_dir / "admin.key"
    if settings.admin_key is not None:
        return Check(name, "ok", "set by VGW_ADMIN_KEY")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Check(name, "ok", f"{path} (made at the first start)")
    except OSError as error:
        return Check(name, "problem", f"{path} cannot be read: {error.strerror}.")
    if mode & 0o077:
        return Check(name, "problem", f"{path} is open to others ({mode:04o}): chmod 600 {path}")
    return Check(name, "ok", f"{path} ({mode:04o})")


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))


def _gib(size: int) -> str:
    tenths = size * 10 // 2**30
    return f"{tenths // 10}.{tenths % 10} GiB"
