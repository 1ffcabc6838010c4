"""What a test needs and does not find: loudly left out, or a failure where nothing may be."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRED = "TOOLS_REQUIRED"
"""Set by `make torture`, which is to try everything."""


def missing(what: str) -> NoReturn:
    """Skip a test whose tool is not on this machine, saying what is not tested."""
    if os.environ.get(REQUIRED):
        pytest.fail(what)
    pytest.skip(f"{what} ({REQUIRED}=1 makes this a failure)")
