"""The doors of administration by name; `api/routes.py` puts them on the one page of all doors."""

from __future__ import annotations

from starlette.routing import Route

DOORS: dict[str, Route] = {}
