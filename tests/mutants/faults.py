"""The faults: one line of the program made wrong, and the test that has to notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`before` stands once in `path` and is put in place of by `after`; `test` must then fail."""

    name: str
    path: str
    before: str
    after: str
    test: str


FAULTS = (
    Fault(
        "a limit does not count",
        "gateway/core/budget.py",
        "over = [s for s in standings if _left_micros(s) < price.micros or not s.ceiling.micros]",
        "over: list[Standing] = []",
        "tests/core/test_budget.py",
    ),
    Fault(
        "a month is thirty days",
        "gateway/core/budget.py",
        "return _days(first, (first + timedelta(days=32)).replace(day=1), calendar)",
        "return _days(first, first + timedelta(days=30), calendar)",
        "tests/core/test_budget.py",
    ),
    Fault(
        "a timeout gives the money back",
        "gateway/core/retry.py",
        "        Outcome.REFUSED,\n        Outcome.NEVER_ARRIVED,\n        Outcome.RATE_LIMITED,",
        "        Outcome.REFUSED,\n        Outcome.LOST,\n        Outcome.NEVER_ARRIVED,\n"
        "        Outcome.RATE_LIMITED,",
        "tests/promises/test_one_purchase.py",
    ),
    Fault(
        "a lost order is sent again",
        "gateway/core/retry.py",
        "        case Outcome.LOST:\n            return endpoint is not Endpoint.QUEUE",
        "        case Outcome.LOST:\n            return True",
        "tests/core/test_retry.py",
    ),
    Fault(
        "a quote passes through a float",
        "gateway/core/money.py",
        "return cls.from_decimal(Decimal(text.strip()))",
        "return cls(int(float(text) * 1_000_000))",
        "tests/core/test_money.py",
    ),
    Fault(
        "a release is lost",
        "gateway/core/job.py",
        "(Holding.RESERVED, Due.RELEASE): (Entry.RELEASE, Holding.RELEASED),",
        "(Holding.RESERVED, Due.RELEASE): None,",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "what is settled settles again",
        "gateway/core/job.py",
        "(Holding.SETTLED, Due.SETTLE): None,",
        "(Holding.SETTLED, Due.SETTLE): (Entry.CORRECT, Holding.SETTLED),",
        "tests/core/test_job.py",
    ),
    Fault(
        "a job moves from wherever it is",
        "gateway/storage/transactions.py",
        'WHERE id = ? AND state = ? AND holding = ?",\n            [*values, *guard],',
        'WHERE id = ?",\n            [*values, guard[0]],',
        "tests/storage/test_writer.py",
    ),
    Fault(
        "the temporary file is in the video's place",
        "gateway/storage/video_files.py",
        "        self._path.rename(final)",
        "        pass",
        "tests/storage/test_videos_disk.py",
    ),
    Fault(
        "doubt is released",
        "gateway/core/job.py",
        "State.IN_DOUBT: Due.DOUBT,",
        "State.IN_DOUBT: Due.RELEASE,",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "every failure is a refund",
        "gateway/core/answers.py",
        'return inner is True or document.get("credits_refunded") is True',
        "return True",
        "tests/core/test_answers.py",
    ),
    Fault(
        "the client's own reference seconds count",
        "gateway/core/validation.py",
        '    "consents": _object_of({}),',
        '    "consents": _object_of({}),\n    "reference_video_total_duration": _number,',
        "tests/core/test_validation.py",
    ),
    Fault(
        "references of unknown length are free",
        "gateway/core/pricing.py",
        "return total if all(known) else max(total, worst)",
        "return total",
        "tests/core/test_pricing.py",
    ),
    Fault(
        "an order is sent before that is durable",
        "gateway/upstream/venice.py",
        "            if before_sending is not None:\n                await before_sending()\n"
        "            left = deadline",
        "            left = deadline",
        "tests/upstream/test_venice.py",
    ),
    Fault(
        "an answer that was delivered is still owed",
        "gateway/sending.py",
        'await self._moves.note(job_id, {"answer_owed": False})',
        "return",
        "tests/test_orders.py",
    ),
    Fault(
        "an acceptance that cannot be written is forgotten",
        "gateway/moves.py",
        "        self._unwritten[job_id] = task\n",
        "        task.cancel()\n",
        "tests/test_orders.py",
    ),
    Fault(
        "a client that left before sending is charged",
        "gateway/sending.py",
        "        if not flight.presence.is_here:\n",
        "        if False:\n",
        "tests/test_orders.py",
    ),
    Fault(
        "a video is visible before it is checked",
        "gateway/core/mp4.py",
        '    if b"mdat" not in kinds:',
        "    if False:",
        "tests/core/test_mp4.py",
    ),
    Fault(
        "two windows are one second short",
        "gateway/core/pacing.py",
        "WINDOW_SECONDS = 60.0",
        "WINDOW_SECONDS = 50.0",
        "tests/core/test_pacing.py",
    ),
)
