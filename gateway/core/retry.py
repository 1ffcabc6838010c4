"""What may be sent to Venice again, and when: the retry table and its budget.

A queue request is never sent again where Venice may have accepted it. Decisions are values;
somebody else sleeps and sends. Delays are in seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum


class Endpoint(StrEnum):
    """The upstream calls there are."""

    QUOTE = "quote"
    QUEUE = "queue"
    RETRIEVE = "retrieve"
    COMPLETE = "complete"
    MODELS = "models"
    BALANCE = "balance"
    RATE_LIMITS = "rate_limits"
    USAGE = "usage"
    DOWNLOAD = "download"


class Outcome(StrEnum):
    """What became of one upstream call."""

    OK = "ok"
    REFUSED = "refused"
    """A 4xx that is Venice's own answer, 429 apart."""
    NEVER_ARRIVED = "never_arrived"
    """No connection, no name, no TLS: Venice never saw it."""
    RATE_LIMITED = "rate_limited"
    BLOCKED = "blocked"
    """The 429 of the abuse block: everything is refused for the stated time."""
    SERVER_ERROR = "server_error"
    """A 500 with Venice's JSON error: its word that nothing was made."""
    UNAVAILABLE = "unavailable"
    """A 503."""
    LOST = "lost"
    """A timeout, a reset, a 502, a 504: Venice may have acted."""
    NONSENSE = "nonsense"
    """An answer that makes no sense for the call."""


FAILED_OUTCOMES = frozenset(Outcome) - {Outcome.OK, Outcome.NEVER_ARRIVED}
"""What Venice counts, or may count, against the key's failure limit."""

NOT_ACCEPTED = frozenset(
    {
        Outcome.REFUSED,
        Outcome.NEVER_ARRIVED,
        Outcome.RATE_LIMITED,
        Outcome.BLOCKED,
        Outcome.SERVER_ERROR,
        Outcome.UNAVAILABLE,
    }
)
"""After these a queue request surely bought nothing."""

STATED_WAIT_MIN = 1.0
STATED_WAIT_MAX = 60.0
"""Venice's longest real wait is a rate window of a minute; anything else it states is clamped."""
_MILLISECONDS_FROM = 1e12
"""A Unix time from here on is in milliseconds (since 2001); the year 9999 in seconds is less."""
_UNIX_TIME_FROM = 1e9
"""A number from here on is a Unix time, below it a number of seconds to wait."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The policy's `retry` section; seconds and shares."""

    attempts: int = 3
    base: float = 0.5
    cap: float = 20.0
    share_percent: int = 10
    queue_on_500: bool = True


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Send the same request again after so many seconds."""

    after: float
    reason: Outcome


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Send nothing more; the outcome stands."""

    reason: Outcome


RetryDecision = SendAgain | GiveUp


def may_send_again(endpoint: Endpoint, outcome: Outcome, *, attempt: int, stated: bool) -> bool:
    """The table of what may be sent again, without regard to budget and time.

    `attempt` counts the calls already made; `stated` says whether Venice gave a `Retry-After`.
    """
    match outcome:
        case Outcome.OK | Outcome.REFUSED:
            return False
        case Outcome.NEVER_ARRIVED | Outcome.RATE_LIMITED | Outcome.BLOCKED:
            return True
        case Outcome.SERVER_ERROR:
            return endpoint is not Endpoint.QUEUE or attempt == 1
        case Outcome.UNAVAILABLE:
            return endpoint is not Endpoint.QUEUE or stated
        case Outcome.LOST:
            return endpoint is not Endpoint.QUEUE
        case Outcome.NONSENSE:
            return endpoint not in (Endpoint.QUEUE, Endpoint.QUOTE)


def decide(
    endpoint: Endpoint,
    outcome: Outcome,
    *,
    attempt: int,
    stated_wait: float | None,
    time_left: float,
    jitter: float,
    rules: RetryRules,
) -> RetryDecision:
    """Whether and when to send again.

    `attempt` counts the calls already made, `stated_wait` is what Venice asked for, `time_left`
    runs to the caller's deadline, `jitter` is a random number in [0, 1): full jitter over an
    exponentially growing interval, never less than what Venice stated.
    """
    if attempt >= rules.attempts:
        return GiveUp(outcome)
    if not may_send_again(endpoint, outcome, attempt=attempt, stated=stated_wait is not None):
        return GiveUp(outcome)
    if endpoint is Endpoint.QUEUE and outcome is Outcome.SERVER_ERROR and not rules.queue_on_500:
        return GiveUp(outcome)
    backoff: float = jitter * min(rules.cap, rules.base * 2 ** (attempt - 1))
    after = backoff if stated_wait is None else stated_wait + backoff
    return SendAgain(after, outcome) if after < time_left else GiveUp(outcome)


@dataclass
class RetryShare:
    """Keeps retries to a share of the calls of the last minute, with a floor.

    Counts are kept by the caller's clock in seconds; nothing here reads one.
    """

    percent: int = 10
    floor: int = 3
    """This many a minute are always allowed, or a quiet gateway could never retry."""
    window: float = 60.0
    _calls: deque[float] = field(default_factory=deque)
    _retries: deque[float] = field(default_factory=deque)

    def count_call(self, now: float) -> None:
        """Note a first attempt."""
        self._forget(now)
        self._calls.append(now)

    def take(self, now: float) -> bool:
        """Take one retry from the share, if there is one left."""
        self._forget(now)
        if len(self._retries) >= max(self.floor, len(self._calls) * self.percent // 100):
            return False
        self._retries.append(now)
        return True

    def _forget(self, now: float) -> None:
        for times in (self._calls, self._retries):
            while times and times[0] <= now - self.window:
                times.popleft()


def stated_wait(headers: Mapping[str, str], now: float) -> float | None:
    """How long Venice asks to wait, in seconds from `now` (Unix time), clamped to 1–60.

    Reads `Retry-After` (seconds or a date, RFC 9110 section 10.2.3), then Venice's own
    `x-ratelimit-resets` (seconds) and `x-ratelimit-reset-requests` (Unix time in seconds or
    milliseconds, or seconds to wait). None where none of them is there; text nobody can read
    counts as the longest wait.
    """
    for name in ("retry-after", "x-ratelimit-resets", "x-ratelimit-reset-requests"):
        text = headers.get(name)
        if text is not None:
            return min(STATED_WAIT_MAX, max(STATED_WAIT_MIN, seconds_told(text.strip(), now)))
    return None


def seconds_told(text: str, now: float) -> float:
    """How far from `now` (Unix time) a header's moment or wait is, in seconds, however it is told.

    Text that nobody can read is the longest wait.
    """
    try:
        number = float(text)
    except ValueError:
        return _wait_until_date(text, now)
    if math.isnan(number):
        return STATED_WAIT_MAX
    if number >= _MILLISECONDS_FROM:
        return number / 1000 - now
    return number - now if number >= _UNIX_TIME_FROM else number


def _wait_until_date(text: str, now: float) -> float:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return STATED_WAIT_MAX
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
