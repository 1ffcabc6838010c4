"""The command line: one file per noun, all of them speaking to the same doors."""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run what was typed; the health check before anything is imported that it does not need."""
    from gateway.cli import liveness

    if tuple(sys.argv[1:]) == liveness.COMMAND:
        sys.exit(liveness.main(os.environ))
    # What is imported stays: to look for garbage among it takes a fifth of the time to start.
    gc.disable()
    from gateway.cli.program import main as run

    gc.freeze()
    gc.enable()
    run()
