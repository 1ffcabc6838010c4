"""Builds the environment each client runs in, once, from locked files, into `.cache/dropin`.

Where an interpreter or a package registry is missing it says so with `Unavailable`, so that a test
can be skipped with a reason. A package whose hash is not the locked one is never a reason to skip.
Run as a module it builds all of them and prints how long each took; `--strip-addresses` cleans the
Node locks after they were renewed.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

LOCKS = Path(__file__).parent / "locks"
CACHE = Path(__file__).parents[2] / ".cache" / "dropin"
INSTALL_SECONDS_MAX = 150.0  # a cold installation takes under 20 s on a plain line
# Without a registry every test of a client is skipped; that must be found out soon, and once.
PIP_IMPATIENT = ("--retries=1", "--timeout=15")
NPM_IMPATIENT = ("--fetch-retries=1", "--fetch-timeout=15000")
NODE_MAJOR_MIN = 20  # what the most demanding of the Node clients asks for

# What package managers print when a download is not what the lock says.
TAMPERED = ("DO NOT MATCH THE HASHES", "Hash mismatch", "hash mismatch", "EINTEGRITY")


_missing: dict[str, "Unavailable"] = {}


class Unavailable(Exception):
    """The client cannot be had on this machine; the text says what is missing."""


class NotWhatWasLocked(Exception):
    """A package came with another hash than the locked one."""


def python_environment(name: str) -> Path:
    """The interpreter of a virtual environment holding exactly `locks/NAME/requirements.txt`."""
    lock = LOCKS / name / "requirements.txt"
    with _built(name, _key(lock, sys.version, sys.base_prefix)) as (folder, is_new):
        python = folder / "bin" / "python"
        if is_new:
            for command in _python_commands(folder, python, lock):
                _install(name, command, cwd=folder.parent)
    return python


def node_environment(name: str) -> Path:
    """A folder whose `node_modules` holds exactly `locks/NAME/package-lock.json`."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"{name}: npm is not installed")
    folder_of_lock = LOCKS / name
    lock = folder_of_lock / "package-lock.json"
    with _built(name, _key(lock, node())) as (folder, is_new):
        if is_new:
            folder.mkdir(parents=True)
            for file in (folder_of_lock / "package.json", lock):
                shutil.copy(file, folder)
            # Install scripts and optional native parts have no place in what is tested.
            options = ("--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
            _install(name, [npm, "ci", "--loglevel=error", *options, *NPM_IMPATIENT], cwd=folder)
    return folder


@cache
def node() -> str:
    """The path of a Node that is new enough."""
    found = shutil.which("node")
    if found is None:
        raise Unavailable("node is not installed")
    shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = shown.stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MAJOR_MIN:
        raise Unavailable(f"node {version} is older than {NODE_MAJOR_MIN}")
    return found


def _python_commands(folder: Path, python: Path, lock: Path) -> Iterator[Sequence[str]]:
    uv = shutil.which("uv")
    if uv is not None:
        yield [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        yield [sys.executable, "-m", "venv", str(folder)]
        install = [str(python), "-m", "pip", "install", "--quiet", *PIP_IMPATIENT]
    yield [*install, "--no-deps", "--require-hashes", "-r", str(lock)]


def _install(name: str, command: Sequence[str], *, cwd: Path) -> None:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NODE_ENV", "NODE_OPTIONS"}
    }
    environment["UV_SYSTEM_CERTS"] = "1"  # as pip does, trust what this machine trusts
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{name}: no installation within {INSTALL_SECONDS_MAX:.0f} s") from error
    if done.returncode == 0:
        return
    said = done.stderr.strip() or done.stdout.strip()
    if any(sign in said for sign in TAMPERED):
        raise NotWhatWasLocked(f"{name}: {said}")
    raise Unavailable(f"{name}: could not be installed: {' / '.join(said.splitlines()[-3:])}")


@contextmanager
def _built(name: str, key: str) -> Iterator[tuple[Path, bool]]:
    """The folder for this key and whether it is still to be filled; one process at a time."""
    if name in _missing:
        raise _missing[name]
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{name}-{key}"
    stamp = CACHE / f"{name}-{key}.complete"
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_new = not stamp.exists()
        if is_new and folder.exists():  # a build that was interrupted
            shutil.rmtree(folder)
        try:
            yield folder, is_new
        except Unavailable as missing:
            _missing[name] = missing
            raise
        stamp.touch()


def _key(lock: Path, *facts: str) -> str:
    text = "\n".join([lock.read_text(), platform.platform(), *facts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def build_all() -> None:
    """Builds every environment and prints what each cost."""
    for name in sorted(folder.name for folder in LOCKS.iterdir()):
        build = (
            python_environment if (LOCKS / name / "requirements.txt").exists() else node_environment
        )
        start = time.monotonic()
        try:
            where = str(build(name).relative_to(CACHE))
        except Unavailable as missing:
            where = f"skipped: {missing}"
        print(f"{name:22} {time.monotonic() - start:6.1f} s  {where}")


def strip_addresses() -> None:
    """Takes every address out of the Node locks: a name, a version and a hash find a package."""
    for lock in LOCKS.glob("*/package-lock.json"):
        content = json.loads(lock.read_text())
        for package in content["packages"].values():
            package.pop("resolved", None)
            package.pop("funding", None)
        lock.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    if "--strip-addresses" in sys.argv[1:]:
        strip_addresses()
    else:
        build_all()
