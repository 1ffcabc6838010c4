"""Decisions without side effects: values in, values out.

Nothing in this package does I/O, reads a clock, an environment or a random source, or logs.
"""
