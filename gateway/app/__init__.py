"""The one place that picks backends; nothing else names one."""

from gateway.app.offline import (
    administration_key,
    open_administration,
    reset_administration_key,
    upkeep,
)
from gateway.app.running import Gateway

__all__ = [
    "Gateway",
    "administration_key",
    "open_administration",
    "reset_administration_key",
    "upkeep",
]
