"""The planted faults themselves: each still has the line that it makes wrong."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.faults import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_place_and_its_test(fault: Fault) -> None:
    text = (ROOT / fault.path).read_text("utf-8")
    assert text.count(fault.before) == 1
    assert fault.before != fault.after
    path, test, *_ = fault.test.split("::")
    assert test in (ROOT / path).read_text("utf-8")
