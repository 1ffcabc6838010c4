"""Chores, one round at a time."""
