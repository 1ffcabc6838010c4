"""The rules in force: read at the start, and again when the files change or somebody says so.

Bad files leave the rules that stand standing; what is wrong with them is kept for people to see.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.metrics import Metrics
from gateway.policies import BadPolicy, LoadedRules, load_rules

_log = structlog.get_logger(__name__)

Stamp = tuple[tuple[str, int, int, int], ...]


class Rules:
    """The rulebook that applies from the next request on."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder = folder
        self._metrics = metrics
        self._followers: list[Callable[[LoadedRules], None]] = []
        self._stamp = _stamp_of(folder)
        self.current = load_rules(folder)
        self.trouble: str | None = None
        """What is wrong with the files on disk; None where they are in force."""
        metrics.policy_ok.set(1)
        metrics.policy_loaded.set_to_current_time()

    def follow(self, follower: Callable[[LoadedRules], None]) -> None:
        """Have a function called with the rules, now and after each change."""
        self._followers.append(follower)
        follower(self.current)

    def reload(self) -> LoadedRules:
        """Read the files again; `BadPolicy` leaves everything as it was."""
        self._stamp = _stamp_of(self._folder)
        try:
            loaded = load_rules(self._folder)
        except BadPolicy as error:
            self.trouble = str(error)
            self._metrics.policy_ok.set(0)
            _log.error("policies.refused", why=self.trouble)
            raise
        self.current = loaded
        self.trouble = None
        self._metrics.policy_ok.set(1)
        self._metrics.policy_loaded.set_to_current_time()
        for follower in self._followers:
            follower(loaded)
        _log.info("policies.loaded", version=loaded.version)
        return loaded

    async def run_once(self) -> None:
        """Read the files again if they have changed on disk."""
        if _stamp_of(self._folder) == self._stamp:
            return
        try:
            self.reload()
        except BadPolicy:
            return


def _stamp_of(folder: Path) -> Stamp:
    """What changes when a file does: names, sizes, times and inodes, not contents."""
    found = []
    try:
        for path in sorted(folder.glob("*.yaml")):
            status = path.stat()
            found.append((path.name, status.st_size, status.st_mtime_ns, status.st_ino))
    except OSError:
        # Mid-change, or gone: another look will find something else.
        return ()
    return tuple(found)
