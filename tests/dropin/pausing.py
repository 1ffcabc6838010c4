"""Lets a test act between a client's order and its first poll; without `JOB_PAUSE` none waits."""

import os
import time
from pathlib import Path


def pause() -> None:
    """Say so by making the file that `JOB_PAUSE` names, and go on once it is gone."""
    name = os.environ.get("JOB_PAUSE")
    if name is None:
        return
    Path(name).touch()
    while Path(name).exists():
        time.sleep(0.02)
