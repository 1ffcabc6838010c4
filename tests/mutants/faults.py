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
        "tests/core/test_budget.py::test_everything_held_or_spent_counts_against_a_limit",
    ),
    Fault(
        "a month is thirty days",
        "gateway/core/budget.py",
        "return _days(first, (first + timedelta(days=32)).replace(day=1), calendar)",
        "return _days(first, first + timedelta(days=30), calendar)",
        "tests/core/test_budget.py::test_a_window_follows_the_organizations_calendar",
    ),
    Fault(
        "a timeout gives the money back",
        "gateway/core/retry.py",
        "        Outcome.REFUSED,\n        Outcome.NEVER_ARRIVED,\n        Outcome.RATE_LIMITED,",
        "        Outcome.REFUSED,\n        Outcome.LOST,\n        Outcome.NEVER_ARRIVED,\n"
        "        Outcome.RATE_LIMITED,",
        "tests/promises/test_one_purchase.py::test_no_fault_between_gateway_and_venice_buys_twice",
    ),
    Fault(
        "a lost order is sent again",
        "gateway/core/retry.py",
        "        case Outcome.LOST:\n            return endpoint is not Endpoint.QUEUE",
        "        case Outcome.LOST:\n            return True",
        "tests/core/test_retry.py::test_only_what_the_table_allows_is_sent_again",
    ),
    Fault(
        "a quote passes through a float",
        "gateway/core/money.py",
        "return cls.from_decimal(Decimal(text.strip()))",
        "return cls(int(float(text) * 1_000_000))",
        "tests/core/test_money.py::test_an_amount_is_shown_with_six_places_and_as_a_short_number",
    ),
    Fault(
        "a release is lost",
        "gateway/core/job.py",
        "(Holding.RESERVED, Due.RELEASE): (Entry.RELEASE, Holding.RELEASED),",
        "(Holding.RESERVED, Due.RELEASE): None,",
        "tests/storage/test_ledger.py"
        "::test_a_users_jobs_are_those_that_are_held_and_those_that_are_not",
    ),
    Fault(
        "what is settled settles again",
        "gateway/core/job.py",
        "(Holding.SETTLED, Due.SETTLE): None,",
        "(Holding.SETTLED, Due.SETTLE): (Entry.CORRECT, Holding.SETTLED),",
        "tests/core/test_job.py"
        "::test_money_that_was_settled_stays_settled_while_a_job_is_looked_at_again",
    ),
    Fault(
        "a job moves from wherever it is",
        "gateway/storage/job_moves.py",
        'WHERE id = ? AND state = ? AND holding = ?",\n            [*values, *guard],',
        'WHERE id = ?",\n            [*values, guard[0]],',
        "tests/storage/test_writer.py::test_a_job_that_moved_since_it_was_read_is_not_moved_again",
    ),
    Fault(
        "the temporary file is in the video's place",
        "gateway/storage/video_files.py",
        "        self._path.rename(final)",
        "        pass",
        "tests/storage/test_videos_disk.py"
        "::test_a_stored_video_is_one_private_plain_file_of_exactly_its_bytes",
    ),
    Fault(
        "doubt is released",
        "gateway/core/job.py",
        "State.IN_DOUBT: Due.DOUBT,",
        "State.IN_DOUBT: Due.RELEASE,",
        "tests/storage/test_ledger.py"
        "::test_a_users_jobs_are_those_that_are_held_and_those_that_are_not",
    ),
    Fault(
        "every failure is a refund",
        "gateway/core/answers.py",
        'return inner is True or document.get("credits_refunded") is True',
        "return True",
        "tests/core/test_answers.py::test_only_credits_refunded_true_is_a_refund",
    ),
    Fault(
        "the client's own reference seconds count",
        "gateway/core/validation.py",
        '    "consents": _object_of({}),',
        '    "consents": _object_of({}),\n    "reference_video_total_duration": _number,',
        "tests/core/test_validation.py::test_a_field_nobody_knows_is_never_sent_on",
    ),
    Fault(
        "references of unknown length are free",
        "gateway/core/pricing.py",
        "return total if all(known) else max(total, worst)",
        "return total",
        "tests/core/test_pricing.py"
        "::test_one_reference_that_cannot_be_measured_makes_all_of_them_the_worst",
    ),
    Fault(
        "an order is sent before that is durable",
        "gateway/upstream/venice.py",
        "            if before_sending is not None:\n                await before_sending()\n"
        "            left = deadline",
        "            left = deadline",
        "tests/upstream/test_venice.py::test_an_order_is_prepared_once_and_its_answer_comes_back",
    ),
    Fault(
        "an answer that was delivered is still owed",
        "gateway/outcomes.py",
        'await self._moves.note(job_id, {"answer_owed": False})',
        "return",
        "tests/test_orders.py::test_a_delivered_replay_leaves_nothing_for_a_twin",
    ),
    Fault(
        "an acceptance that cannot be written is forgotten",
        "gateway/moves.py",
        "        self._unwritten[job_id] = task\n",
        "        task.cancel()\n",
        "tests/test_orders.py"
        "::test_an_acceptance_that_cannot_be_written_is_a_doubt_and_is_written_later",
    ),
    Fault(
        "a client that left before sending is charged",
        "gateway/sending.py",
        "        if not flight.presence.is_here:\n",
        "        if False:\n",
        "tests/test_orders.py::test_a_client_that_leaves_as_the_gate_opens_is_charged_nothing",
    ),
    Fault(
        "a video is visible before it is checked",
        "gateway/core/mp4.py",
        '    if b"mdat" not in kinds:',
        "    if False:",
        "tests/core/test_mp4.py::test_damage_is_found",
    ),
    Fault(
        "two windows are one second short",
        "gateway/core/pacing.py",
        "WINDOW_SECONDS = 60.0",
        "WINDOW_SECONDS = 50.0",
        "tests/core/test_pacing.py"
        "::test_half_an_hour_at_ten_times_the_load_beside_an_attacker_keeps_every_limit",
    ),
    Fault(
        "the silence of a bill that is late is believed",
        "gateway/core/verdict.py",
        "        return not self.is_late or sent_at + NEAR_MS <= self.last_row_at",
        "        return True",
        "tests/core/test_verdict.py"
        "::test_a_bill_that_lacks_a_sure_purchase_is_late_and_its_silence_proves_nothing",
    ),
    Fault(
        "a doubt is released before its time",
        "gateway/core/verdict.py",
        "        if self._age(sent_at) < self.release_after:\n            return False\n",
        "",
        "tests/core/test_verdict.py"
        "::test_a_doubt_that_the_bill_does_not_show_is_released_after_a_while_and_not_before",
    ),
    Fault(
        "a bill's silence gives settled money back",
        "gateway/core/verdict.py",
        'return Verdict(Act.REPORT, "Venice\'s bill does not show it")',
        'return Verdict(Act.CORRECT, "Venice\'s bill does not show it")',
        "tests/core/test_verdict.py"
        "::test_what_the_bill_does_not_show_is_reported_and_never_given_back",
    ),
    Fault(
        "a video that may be another's is given away",
        "gateway/core/verdict.py",
        "names_it = ids_are_queue_ids and match.is_certain and match.request_id is not None",
        "names_it = ids_are_queue_ids and match.request_id is not None",
        "tests/core/test_verdict.py"
        "::test_a_row_that_can_be_no_other_jobs_gives_a_doubt_its_queue_id",
    ),
    Fault(
        "a doubt is settled for its quote, whatever was billed",
        "gateway/evidence.py",
        "            settle_as=match.billed or None,\n",
        "",
        "tests/test_reconcile.py"
        "::test_a_doubt_is_settled_for_what_was_billed_and_not_for_its_quote",
    ),
    Fault(
        "a correction forgets its windows",
        "gateway/storage/transactions.py",
        "        changes = moved(job, change)\n        guarded_update(connection, job, changes)\n"
        "        self._write_entry(connection.cursor(), job",
        "        changes = moved(job, change)\n        guarded_update(connection, job, changes)\n"
        "        self._write_entry(connection.cursor(), replace(job, user='nobody')",
        "tests/storage/test_ledger.py"
        "::test_a_correction_is_an_entry_that_names_the_last_and_moves_every_window",
    ),
    Fault(
        "a correction adds to what is settled",
        "gateway/core/movement.py",
        "return Movement(Entry.CORRECT, holding, settled=cost - amounts.settled)",
        "return Movement(Entry.CORRECT, holding, settled=cost)",
        "tests/storage/test_ledger.py"
        "::test_a_correction_is_an_entry_that_names_the_last_and_moves_every_window",
    ),
    Fault(
        "a charge and its refund do not cancel out",
        "gateway/core/usage.py",
        "        return magnitude if self.amount < 0 else -magnitude",
        "        return Money.from_decimal(-self.amount)",
        "tests/core/test_usage.py"
        "::test_a_charge_and_its_refund_cancel_out_however_many_digits_they_have",
    ),
    Fault(
        "a job at the edge of a range is not known",
        "gateway/reconcile.py",
        "        jobs = await self.kept.sent(begin - MARGIN_MS)",
        "        jobs = await self.kept.sent(begin)",
        "tests/test_reconcile.py"
        "::test_a_job_and_its_row_on_either_side_of_a_ranges_edge_belong_together",
    ),
    Fault(
        "what is in doubt takes no room",
        "gateway/storage/balances.py",
        "used = row.reserved + row.in_doubt + row.settled",
        "used = row.reserved + row.settled",
        "tests/storage/test_balances.py::test_what_is_in_doubt_takes_room_from_what_comes",
    ),
    Fault(
        "the ledger's time goes back with the clock",
        "gateway/storage/transactions.py",
        "self._last_at = max(self._last_at, at)",
        "self._last_at = at",
        "tests/storage/test_ledger.py::test_the_ledgers_time_never_goes_back",
    ),
    Fault(
        "what is undone is remembered",
        "gateway/storage/balances.py",
        "        for who in self._touched:\n            self._places.pop(who, None)\n",
        "",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
    Fault(
        "a balance is remembered without what is given back",
        "gateway/storage/balances.py",
        "row.reserved += reserved",
        "row.reserved += max(reserved, 0)",
        "tests/promises/test_money_machine.py::TestSomeSchedules::runTest",
    ),
    Fault(
        "an Idempotency-Key is never taken",
        "gateway/storage/transactions.py",
        'raise AlreadyThere("this Idempotency-Key is in use")',
        "return",
        "tests/storage/test_ledger.py::test_names_and_idempotency_keys_are_taken_once",
    ),
    Fault(
        "a settled job has cost nothing",
        "gateway/core/movement.py",
        "return Movement(kind, after, -amounts.reserved, -amounts.in_doubt, cost)",
        "return Movement(kind, after, -amounts.reserved, -amounts.in_doubt)",
        "tests/storage/test_ledger.py::test_a_moved_user_leaves_its_money_where_it_was_spent",
    ),
    Fault(
        "a rolling window forgets a millisecond too soon",
        "gateway/core/budget.py",
        "return Span(at - seconds * 1000 + 1, at + 1)",
        "return Span(at - seconds * 1000 + 2, at + 1)",
        "tests/core/test_budget.py::test_a_rolling_window_ends_with_the_moment_and_has_its_length",
    ),
    Fault(
        "a commit does not reach the disk",
        "gateway/storage/writer.py",
        'connection.execute("PRAGMA synchronous = FULL")',
        'connection.execute("PRAGMA synchronous = OFF")',
        "tests/promises/test_crash_points.py::test_a_kill_at_a_step_of_a_jobs_life_loses_nothing",
    ),
    Fault(
        "an order whose client left is given to nobody",
        "gateway/submit.py",
        "            if flight.is_committed and not flight.presence.is_here:\n",
        "            if False:\n",
        "tests/promises/test_twins.py::test_a_client_that_left_and_sends_again_joins_its_order",
    ),
    Fault(
        "orders at the same moment share one balance",
        "gateway/balance_watch.py",
        "        self._claimed += price\n        self._spoken_for += price\n",
        "        self._claimed += price\n",
        "tests/test_balance_watch.py::test_as_many_orders_are_let_through_as_the_balance_pays",
    ),
    Fault(
        "what Venice has billed is counted twice",
        "gateway/core/balance.py",
        "return taken_at is None or taken_at >= asked_at",
        "return True",
        "tests/test_balance_watch.py"
        "::test_a_job_that_venice_has_billed_already_is_not_counted_twice",
    ),
    Fault(
        "who pays in DIEM is locked out",
        "gateway/core/balance.py",
        'document.get("consumptionCurrency") == USD and not _amount(balances.get("diem"))',
        "True",
        "tests/test_balance_watch.py::test_who_pays_otherwise_or_is_not_known_is_not_locked_out",
    ),
    Fault(
        "one row settles two doubts, one run after the other",
        "gateway/core/charges.py",
        "    return settled, others",
        "    return others, settled",
        "tests/core/test_bill.py"
        "::test_what_was_settled_in_doubt_keeps_its_row_though_another_is_nearer",
    ),
    Fault(
        "an Idempotency-Key leaves its doubt after a day",
        "gateway/storage/repeated.py",
        "\"AND (created_at > ? OR state = 'in_doubt' OR {_KNOWN_SINCE})\"",
        '"AND (created_at > ? OR {_KNOWN_SINCE})"',
        "tests/test_repeated.py::test_a_doubt_of_last_month_is_still_not_bought_again",
    ),
    Fault(
        "an answer that ended a doubt is forgotten",
        "gateway/storage/repeated.py",
        "(delivered_at IS NULL AND accepted_at > ?)",
        "(created_at IS NULL AND accepted_at > ?)",
        "tests/test_repeated.py::test_what_ended_a_doubt_days_later_answers_its_repetition",
    ),
    Fault(
        "a hold whose client left meanwhile stays",
        "gateway/sending.py",
        "            if isinstance(held, Reserved):\n                await self._release",
        "            if held is None:\n                await self._release",
        "tests/test_orders.py::test_a_client_that_leaves_while_its_money_is_being_held_has_it_back",
    ),
    Fault(
        "one lost answer is given to two",
        "gateway/submit.py",
        "self._claimed.add(job.id)",
        "self._claimed.discard(job.id)",
        "tests/test_orders.py::test_an_owed_answer_goes_to_one_of_two_copies_that_come_at_once",
    ),
    Fault(
        "a grant lasts a moment too long",
        "gateway/storage/balances.py",
        "begins_at <= at < ends_at",
        "begins_at <= at <= ends_at",
        "tests/storage/test_ledger.py::test_a_grant_raises_from_its_making_until_its_end_exclusive",
    ),
    Fault(
        "the bill overrules a decision made meanwhile",
        "gateway/storage/transactions.py",
        "    if seen is not None and job.state is not seen:",
        "    if False:",
        "tests/test_reconcile.py"
        "::test_what_the_bill_proves_of_a_job_that_has_moved_since_is_left_to_the_next_run",
    ),
    Fault(
        "what is undone is still judged by",
        "gateway/storage/balances.py",
        "            self._places.pop(who, None)\n        self._rearranged()\n",
        "            self._places.pop(who, None)\n",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
    Fault(
        "a group that is undone is still judged by",
        "gateway/storage/balances.py",
        "        self._places.clear()\n        self._rearranged()\n        self._touched.clear()\n",
        "        self._places.clear()\n        self._touched.clear()\n",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
    Fault(
        "a place that comes moves with nothing",
        "gateway/storage/balances.py",
        "            self._rearranged()\n            place = self._places[scope, who] = _Place(at)",
        "            place = self._places[scope, who] = _Place(at)",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
    Fault(
        "a balance that comes moves with nothing",
        "gateway/storage/balances.py",
        "            self._rearranged()\n            place.pass_by(at)",
        "            place.pass_by(at)",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
    Fault(
        "a window that rolls moves with nothing",
        "gateway/storage/balances.py",
        "            self._rearranged()\n            found = place.rolling[key]",
        "            found = place.rolling[key]",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
    Fault(
        "a day is judged by another time zone's",
        "gateway/storage/balances.py",
        "            if calendar != self._calendar:\n                self._current.clear()\n",
        "",
        "tests/storage/test_balances.py::test_a_day_is_judged_by_the_calendar_of_its_order",
    ),
    Fault(
        "today is judged by yesterday",
        "gateway/storage/balances.py",
        "row is not None and row.starts_at <= at < row.ends_at",
        "row is not None",
        "tests/storage/test_balances.py::test_memory_rows_and_jobs_agree_whatever_is_undone",
    ),
)
