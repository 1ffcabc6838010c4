"""Tests of the doors for programs, over real connections."""
