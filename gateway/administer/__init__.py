"""The verbs of administration: people, keys, grants, jobs in doubt and rules.

Each act is audited with who did it, and memory follows the ledger at once. Nothing here speaks
HTTP, and no money moves but by a job's own events.
"""

from __future__ import annotations

from gateway.administer.office import Office

__all__ = ["Office"]
