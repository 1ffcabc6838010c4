"""What Venice's bill proves of our jobs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bill import Comparison, Finding, compare, tally
from gateway.core.charges import NEAR_MS, BilledJob, BillRow, model_of
from gateway.core.job import State
from gateway.core.money import Money

PRICE = Money(60_000)
MODEL = "wan-2.2"
SKU = "wan-2.2-video-unit"
PLANTED = [each for each in Finding if each not in (Finding.PENDING, Finding.OTHERWISE)]


def job(
    name: str,
    state: State = State.STORED,
    *,
    at: int = 1_000_000,
    paid: Money | None = None,
    queue_id: str | None = None,
    quote: Money = PRICE,
) -> BilledJob:
    is_doubt = state is State.IN_DOUBT
    settled = (Money(0) if is_doubt else quote) if paid is None else paid
    known = None if is_doubt else queue_id or f"q-{name}"
    return BilledJob(name, known, MODEL, state, at, quote, settled)


def row(
    request_id: str | None, *, at: int = 1_000_000, amount: Money = PRICE, sku: str = SKU
) -> BillRow:
    return BillRow(at, sku, amount, request_id)


def found(comparison: Comparison) -> dict[str, Finding]:
    return {match.job.id: match.finding for match in comparison.matches}


def test_a_request_id_is_proof_whatever_the_time() -> None:
    comparison = compare([job("a")], [row("q-a", at=9_000_000)])
    assert found(comparison) == {"a": Finding.SAME}
    assert comparison.ids_are_queue_ids
    assert not comparison.theirs_only


def test_a_doubt_on_the_bill_is_billed_and_one_that_is_not_is_unbilled() -> None:
    jobs = [job("a", State.IN_DOUBT), job("b", State.IN_DOUBT, at=9_000_000)]
    comparison = compare(jobs, [row("r-1", at=1_000_500)])
    assert found(comparison) == {"a": Finding.BILLED, "b": Finding.UNBILLED}
    assert comparison.of(Finding.BILLED)[0].request_id == "r-1"
    assert not comparison.ids_are_queue_ids


def test_a_row_two_minutes_away_proves_nothing() -> None:
    near = compare([job("a", State.IN_DOUBT)], [row("r", at=1_000_000 + NEAR_MS)])
    assert found(near) == {"a": Finding.BILLED}
    far = compare([job("a", State.IN_DOUBT)], [row("r", at=1_000_001 + NEAR_MS)])
    assert found(far) == {"a": Finding.UNBILLED}
    assert [theirs.request_id for theirs in far.theirs_only] == ["r"]


def test_a_near_row_of_another_amount_leaves_the_doubt_unclear() -> None:
    comparison = compare([job("a", State.IN_DOUBT)], [row("r", amount=Money(70_000))])
    assert found(comparison) == {"a": Finding.UNCLEAR}


def test_a_row_of_another_model_is_not_evidence() -> None:
    comparison = compare([job("a", State.IN_DOUBT)], [row("r", sku="wan-2.20-video-unit")])
    assert found(comparison) == {"a": Finding.UNBILLED}


def test_a_known_job_takes_its_row_before_a_doubt_can() -> None:
    jobs = [job("doubt", State.IN_DOUBT, at=1_000_000), job("known", at=1_000_010)]
    comparison = compare(jobs, [row(None, at=1_000_020)])
    assert found(comparison) == {"doubt": Finding.UNBILLED, "known": Finding.SAME}


def test_a_refund_on_the_bill_of_a_settled_job_is_a_difference() -> None:
    rows = [row("q-a"), row("q-a", at=1_200_000, amount=Money(-60_000))]
    comparison = compare([job("a"), job("b", State.FAILED_REFUNDED, paid=Money(0))], rows)
    assert found(comparison) == {"a": Finding.DIFFERENT, "b": Finding.SAME}
    assert comparison.of(Finding.DIFFERENT)[0].billed == Money(0)


def test_a_settled_job_that_is_not_on_the_bill_is_missing_there() -> None:
    assert found(compare([job("a")], [])) == {"a": Finding.MISSING}


@given(st.integers(0, 2**32))
def test_all_planted_differences_are_found_and_no_false_one(seed: int) -> None:
    chance = random.Random(seed)
    numbers = count()
    jobs: list[BilledJob] = []
    rows: list[BillRow] = []
    expected: dict[str, Finding] = {}
    for _ in range(60):
        # Ten minutes apart, so that no row can be taken for another job's.
        at = (next(numbers) + 1) * 600_000
        finding = chance.choice(PLANTED)
        name = f"j{at}"
        is_doubt = finding in (Finding.BILLED, Finding.UNCLEAR, Finding.UNBILLED)
        ours = job(name, State.IN_DOUBT if is_doubt else State.STORED, at=at)
        jobs.append(ours)
        expected[name] = finding
        amount = {Finding.DIFFERENT: Money(61_000), Finding.UNCLEAR: Money(59_999)}.get(finding)
        if finding not in (Finding.MISSING, Finding.UNBILLED):
            rows.append(row(ours.queue_id or f"r{at}", at=at + 900, amount=amount or PRICE))
    chance.shuffle(rows)
    comparison = compare(jobs, rows)
    assert found(comparison) == expected
    assert sum(tally(comparison.matches).values()) == len(jobs)


def test_of_several_models_the_sku_is_that_of_the_longest_that_fits() -> None:
    models = ["wan-2.2", "wan-2.2-a14b", "kling"]
    assert model_of("wan-2-2-a14b-video-unit", models) == "wan-2.2-a14b"
    assert model_of("wan-2.2-video-unit", models) == "wan-2.2"
    assert model_of("wan-2.20-video-unit", models) is None
    assert model_of("kling", models) == "kling"


def test_without_ids_a_refunded_job_takes_the_refunded_charge_and_a_settled_one_the_other() -> None:
    charge, refund = row("a", at=1_000_400), row("a", at=1_000_900, amount=Money(-60_000))
    rows = [charge, refund, row("b", at=1_000_500)]
    jobs = [job("settled"), job("refunded", State.FAILED_REFUNDED, paid=Money(0))]
    assert found(compare(jobs, rows)) == {"settled": Finding.SAME, "refunded": Finding.SAME}


def test_a_refused_order_takes_no_row_that_one_in_doubt_can_have() -> None:
    refused = BilledJob("refused", None, MODEL, State.REFUSED, 1_000_000, PRICE, Money(0))
    comparison = compare([refused, job("doubt", State.IN_DOUBT, at=1_000_100)], [row("r")])
    assert found(comparison) == {"refused": Finding.SAME, "doubt": Finding.BILLED}
    assert found(compare([refused], [row("r")])) == {"refused": Finding.DIFFERENT}


def test_a_job_paid_in_another_currency_is_not_missing_and_one_row_pays_one_job() -> None:
    by_id = compare([job("a"), job("b")], [row("q-b")], otherwise=[row("q-a", at=9_000_000)])
    assert found(by_id) == {"a": Finding.OTHERWISE, "b": Finding.SAME}
    by_time = compare([job("a"), job("b", at=1_000_050)], [], otherwise=[row(None)])
    assert sorted(found(by_time).values()) == [Finding.MISSING, Finding.OTHERWISE]


def test_a_doubt_near_a_row_in_another_currency_is_not_unbilled() -> None:
    comparison = compare([job("a", State.IN_DOUBT)], [], otherwise=[row("r")])
    assert found(comparison) == {"a": Finding.UNCLEAR}


def test_rows_of_other_products_are_nobodys_business() -> None:
    chat = row("chatcmpl-1", sku="zai-org-glm-5-1-llm-output-mtoken")
    assert not compare([job("a")], [chat, row("q-a")]).theirs_only
    strange = row("r", sku="kling-video-unit")
    assert compare([], [strange], models=["kling"]).theirs_only == [strange]


def test_what_was_settled_in_doubt_keeps_its_row_though_another_is_nearer() -> None:
    """However rows are told apart, one row never settles two jobs."""
    settled = job("settled", State.SETTLED_IN_DOUBT, at=1_000_000)
    settled = replace(settled, queue_id=None)
    doubt = job("doubt", State.IN_DOUBT, at=1_000_300)
    comparison = compare([settled, doubt], [row("r", at=1_000_310)])
    assert found(comparison) == {"settled": Finding.SAME, "doubt": Finding.UNBILLED}


World = tuple[list[BilledJob], list[BillRow], dict[str, Finding]]


def one_after_another(seed: int, apart: int, pauses: tuple[int, int]) -> World:
    """Forty orders of one price, each over before the next: a quarter known, of the others, in
    doubt, one half billed. Their clock is ahead by `apart`; what is to be found of each."""
    chance = random.Random(seed)
    jobs: list[BilledJob] = []
    rows: list[BillRow] = []
    expected: dict[str, Finding] = {}
    at = 1_000_000
    for number in range(40):
        length = chance.randrange(5, 60)
        is_billed, is_known = chance.random() < 0.5, number % 4 == 0
        state = State.STORED if is_known else State.IN_DOUBT
        end = at + length
        fresh = job(f"j{number}", state, at=at)
        jobs.append(replace(fresh, accepted_at=end) if is_known else replace(fresh, lost_at=end))
        if is_known or is_billed:
            rows.append(row(f"r{number}", at=at + chance.randrange(length) + apart))
        billed = Finding.BILLED if is_billed else Finding.UNBILLED
        expected[f"j{number}"] = Finding.SAME if is_known else billed
        at = end + chance.randrange(*pauses)
    return jobs, rows, expected


@given(st.integers(-5, 5), st.integers(0, 2**32))
def test_doubts_are_told_apart_where_the_clocks_differ_by_less_than_half_a_pause(
    apart: int, seed: int
) -> None:
    jobs, rows, expected = one_after_another(seed, apart, pauses=(11, 15))
    assert found(compare(jobs, rows)) == expected


@pytest.mark.parametrize("apart", [-4_000, -300, -9, 9, 300, 4_000])
def test_known_jobs_tell_nearly_all_doubts_apart_however_far_the_clocks_are(apart: int) -> None:
    """Pauses are shorter than the clocks differ, so that some rows fit two jobs alike."""
    wrong = 0
    for seed in range(50):
        jobs, rows, expected = one_after_another(seed, apart, pauses=(1, 5))
        ids = {each.id: each.queue_id for each in jobs if each.queue_id}
        names = [(each.request_id or "").replace("r", "j", 1) for each in rows]
        named = [
            replace(each, request_id=ids.get(name, each.request_id))
            for each, name in zip(rows, names, strict=True)
        ]
        got = found(compare(jobs, named))
        wrong += sum(got[name] is not expected[name] for name in expected)
        # Whichever it is: as many are billed as were.
        assert Counter(got.values()) == Counter(expected.values())
    assert wrong <= 0.03 * 50 * 40
