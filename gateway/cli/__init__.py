"""The command line: one file per noun, all of them speaking to the same doors."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run what was typed; the health check before anything is imported that it does not need."""
    from gateway.cli import liveness

    if tuple(sys.argv[1:]) == liveness.COMMAND:
        sys.exit(liveness.main(os.environ))
    from gateway.cli.program import main as run

    run()
