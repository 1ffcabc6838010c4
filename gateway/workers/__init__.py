"""Chores: each does one round of its work in `run_once`, and a loop calls it."""
