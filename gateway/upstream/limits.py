"""How long and how large an answer of Venice's may be, each limit with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long and how large a body may be."""

    stall_seconds: float = 60.0
    """In which a video must bring `stall_bytes`."""
    stall_bytes: int = 64 * 2**10
    """1 KiB/s: no link that slow could deliver a video within its lifetime."""
    video_seconds: float = 3_600.0
    """Waiting for one video in all: its place among the few fetches is wanted by others."""
    video_bytes_max: int = 4 * 2**30
    """Twenty minutes at 25 Mbit/s; the longest job is thirty seconds."""
    json_bytes_max: int = 8 * 2**20
    """After decompression; the catalogue, the largest answer, has some hundred kilobytes."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How long an answer may take; bodies have limits of their own."""

    connect_seconds: float = 10.0
    """A name, a connection, TLS, a place in the pool: seconds, or something is down."""
    answer_seconds: float = 60.0
    """A whole JSON answer, or the status of a video: Venice looks something up."""
    queue_seconds: float = 150.0
    """A whole order: Venice takes the media in, and giving up early puts money in doubt."""
    quiet_seconds: float = 120.0
    """Without a byte, while an order is sent or answered."""
    body: BodyLimits = field(default_factory=BodyLimits)
