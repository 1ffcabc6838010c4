"""A gateway in front of Venice's video API: keys, budgets, a ledger, a store of videos."""

__version__ = "0.1.0"
