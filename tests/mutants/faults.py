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
        "gateway/storage/job_moves.py",
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
        "gateway/outcomes.py",
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
    Fault(
        "the silence of a bill that is late is believed",
        "gateway/core/verdict.py",
        "        return not self.is_late or sent_at + NEAR_MS <= self.last_row_at",
        "        return True",
        "tests/core/test_verdict.py",
    ),
    Fault(
        "a doubt is released before its time",
        "gateway/core/verdict.py",
        "        if self._age(sent_at) < self.release_after:\n            return False\n",
        "",
        "tests/core/test_verdict.py",
    ),
    Fault(
        "a bill's silence gives settled money back",
        "gateway/core/verdict.py",
        'return Verdict(Act.REPORT, "Venice\'s bill does not show it")',
        'return Verdict(Act.CORRECT, "Venice\'s bill does not show it")',
        "tests/core/test_verdict.py",
    ),
    Fault(
        "a video that may be another's is given away",
        "gateway/core/verdict.py",
        "names_it = ids_are_queue_ids and match.is_certain and match.request_id is not None",
        "names_it = ids_are_queue_ids and match.request_id is not None",
        "tests/core/test_verdict.py",
    ),
    Fault(
        "a doubt is settled for its quote, whatever was billed",
        "gateway/evidence.py",
        "            settle_as=match.billed or None,\n",
        "",
        "tests/test_reconcile.py",
    ),
    Fault(
        "a correction forgets its windows",
        "gateway/storage/transactions.py",
        "        changes = moved(job, change)\n        guarded_update(connection, job, changes)\n"
        "        self._write_entry(connection.cursor(), job",
        "        changes = moved(job, change)\n        guarded_update(connection, job, changes)\n"
        "        self._write_entry(connection.cursor(), replace(job, user='nobody')",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "a correction adds to what is settled",
        "gateway/core/movement.py",
        "return Movement(Entry.CORRECT, holding, settled=cost - amounts.settled)",
        "return Movement(Entry.CORRECT, holding, settled=cost)",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "a charge and its refund do not cancel out",
        "gateway/core/usage.py",
        "        return magnitude if self.amount < 0 else -magnitude",
        "        return Money.from_decimal(-self.amount)",
        "tests/core/test_usage.py",
    ),
    Fault(
        "a job at the edge of a range is not known",
        "gateway/reconcile.py",
        "        jobs = await self.kept.sent(begin - MARGIN_MS)",
        "        jobs = await self.kept.sent(begin)",
        "tests/test_reconcile.py",
    ),
    Fault(
        "what is in doubt takes no room",
        "gateway/storage/balances.py",
        "used = row.reserved + row.in_doubt + row.settled",
        "used = row.reserved + row.settled",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "the ledger's time goes back with the clock",
        "gateway/storage/transactions.py",
        "self._last_at = max(self._last_at, at)",
        "self._last_at = at",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "what is undone is remembered",
        "gateway/storage/balances.py",
        "        for who in self._touched:\n            self._places.pop(who, None)\n",
        "",
        "tests/storage/test_balances.py",
    ),
    Fault(
        "a balance is remembered without what is given back",
        "gateway/storage/balances.py",
        "row.reserved += reserved",
        "row.reserved += max(reserved, 0)",
        "tests/promises/test_money_machine.py",
    ),
    Fault(
        "an Idempotency-Key is never taken",
        "gateway/storage/transactions.py",
        'raise AlreadyThere("this Idempotency-Key is in use")',
        "return",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "a settled job has cost nothing",
        "gateway/core/movement.py",
        "return Movement(kind, after, -amounts.reserved, -amounts.in_doubt, cost)",
        "return Movement(kind, after, -amounts.reserved, -amounts.in_doubt)",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "a rolling window forgets a millisecond too soon",
        "gateway/core/budget.py",
        "return Span(at - seconds * 1000 + 1, at + 1)",
        "return Span(at - seconds * 1000 + 2, at + 1)",
        "tests/core/test_budget.py",
    ),
    Fault(
        "a commit does not reach the disk",
        "gateway/storage/writer.py",
        'connection.execute("PRAGMA synchronous = FULL")',
        'connection.execute("PRAGMA synchronous = OFF")',
        "tests/promises/test_crash_points.py",
    ),
    Fault(
        "an order whose client left is given to nobody",
        "gateway/submit.py",
        "            if flight.is_committed and not flight.presence.is_here:\n",
        "            if False:\n",
        "tests/promises/test_twins.py",
    ),
    Fault(
        "orders at the same moment share one balance",
        "gateway/balance_watch.py",
        "        self._claimed += price\n        self._spoken_for += price\n",
        "        self._claimed += price\n",
        "tests/test_balance_watch.py",
    ),
    Fault(
        "what Venice has billed is counted twice",
        "gateway/core/balance.py",
        "return taken_at is None or taken_at >= asked_at",
        "return True",
        "tests/test_balance_watch.py",
    ),
    Fault(
        "who pays in DIEM is locked out",
        "gateway/core/balance.py",
        'document.get("consumptionCurrency") == USD and not _amount(balances.get("diem"))',
        "True",
        "tests/test_balance_watch.py",
    ),
    Fault(
        "one row settles two doubts, one run after the other",
        "gateway/core/charges.py",
        "    return settled, others",
        "    return others, settled",
        "tests/core/test_bill.py",
    ),
    Fault(
        "an Idempotency-Key leaves its doubt after a day",
        "gateway/storage/repeated.py",
        "\"AND (created_at > ? OR state = 'in_doubt' OR {_KNOWN_SINCE})\"",
        '"AND (created_at > ? OR {_KNOWN_SINCE})"',
        "tests/test_repeated.py",
    ),
    Fault(
        "an answer that ended a doubt is forgotten",
        "gateway/storage/repeated.py",
        "(delivered_at IS NULL AND accepted_at > ?)",
        "(created_at IS NULL AND accepted_at > ?)",
        "tests/test_repeated.py",
    ),
    Fault(
        "a hold whose client left meanwhile stays",
        "gateway/sending.py",
        "            if isinstance(held, Reserved):\n                await self._release",
        "            if held is None:\n                await self._release",
        "tests/test_orders.py",
    ),
    Fault(
        "one lost answer is given to two",
        "gateway/submit.py",
        "self._claimed.add(job.id)",
        "self._claimed.discard(job.id)",
        "tests/test_orders.py",
    ),
    Fault(
        "a grant lasts a moment too long",
        "gateway/storage/balances.py",
        "begins_at <= at < ends_at",
        "begins_at <= at <= ends_at",
        "tests/storage/test_ledger.py",
    ),
    Fault(
        "the bill overrules a decision made meanwhile",
        "gateway/storage/transactions.py",
        "    if seen is not None and job.state is not seen:",
        "    if False:",
        "tests/test_reconcile.py",
    ),
)
