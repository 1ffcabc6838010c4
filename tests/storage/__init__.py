"""Tests of the backends: the ledger and the video store, each on the real thing."""
