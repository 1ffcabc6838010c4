"""Faults planted on purpose: each must trip the test that guards against it."""
