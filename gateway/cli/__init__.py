"""The command line: one file per noun, all of them speaking to the same doors."""

from __future__ import annotations

from gateway.cli.program import main

__all__ = ["main"]
