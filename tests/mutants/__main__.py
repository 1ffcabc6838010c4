"""`make mutants`: plants each fault in a copy of the program and runs the test that guards it.

A fault that no test notices is reported, and the run fails. Only the copy is ever changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("gateway", "tests", "policies", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
SECONDS_MAX = 300
AT_ONCE = 2
FAILED = 1
"""pytest's exit status where a test failed; greater ones say that none could be run."""


def copy_to(folder: Path) -> None:
    """The program and its tests, without caches."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(source, folder / name, ignore=ignored)
        elif source.exists():
            shutil.copy2(source, folder / name)


def plant(fault: Fault, folder: Path) -> None:
    """Make the fault; it must stand exactly where it is said to."""
    path = folder / fault.path
    text = path.read_text("utf-8")
    if text.count(fault.before) != 1:
        raise SystemExit(f"{fault.name}: its line is not, or not once, in {fault.path}")
    path.write_text(text.replace(fault.before, fault.after), "utf-8")


def is_noticed(fault: Fault | None, test: str) -> bool:
    """Whether the test fails; with no fault at all it must not."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_to(folder)
        if fault is not None:
            plant(fault, folder)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        if done.returncode > FAILED:
            raise SystemExit(f"{test}: pytest could not run it:\n{done.stdout.decode()}")
        return done.returncode == FAILED


def main() -> int:
    """Plant every fault that was asked for; 1 where one goes unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose names hold one of these")
    words = parser.parse_args().words
    chosen = [f for f in FAULTS if not words or any(word in f.name for word in words)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sound = sorted({fault.test for fault in chosen})
        broken = [t for t, bad in zip(sound, pool.map(_sound, sound), strict=True) if bad]
        for test in broken:
            print(f"BROKEN    {test} fails without any fault")
        survivors = []
        for fault, noticed in zip(chosen, pool.map(_planted, chosen), strict=True):
            print(f"{'noticed' if noticed else 'UNNOTICED':9} {fault.name}  ({fault.test})")
            survivors += [] if noticed else [fault]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults noticed")
    return 1 if survivors or broken else 0


def _sound(test: str) -> bool:
    return is_noticed(None, test)


def _planted(fault: Fault) -> bool:
    return is_noticed(fault, fault.test)


if __name__ == "__main__":
    sys.exit(main())
