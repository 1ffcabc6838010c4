"""Errors of SQLite, and of our own assertions, in the ledger's words."""

from __future__ import annotations

import sqlite3

from gateway.ports import LedgerBroken, LedgerFailure, LedgerFull


def translate(error: sqlite3.Error) -> LedgerFailure:
    """A SQLite error in our own words."""
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL" or "disk is full" in str(error):
        return LedgerFull("the disk that holds the database is full")
    if isinstance(error, sqlite3.IntegrityError):
        return LedgerBroken(f"a write would break a constraint: {error}")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return LedgerBroken(f"the database is damaged ({error})")
    return LedgerFailure(f"the database could not write ({code or type(error).__name__}: {error})")


def told(error: Exception) -> Exception:
    """What its caller is told of an error in a transaction."""
    if isinstance(error, sqlite3.Error):
        return translate(error)
    if isinstance(error, AssertionError):
        return LedgerBroken(f"an assertion failed: {error}")
    return error
