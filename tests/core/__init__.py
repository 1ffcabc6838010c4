"""Tests of the decisions, without a clock, a disk or a network."""
