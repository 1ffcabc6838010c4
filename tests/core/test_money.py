"""Amounts are exact: what comes in is never rounded down, and what goes out reads back equal."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import MICROS_MAX, ZERO, Money, NotAnAmount

AWKWARD = ("0.1", "0.085", "1e-7", "0.0000001", "0.28", "1.005", "0.3333333333333333", "2.675", "0")


def exact_ceiling(dollars: Decimal) -> int:
    """Micro-dollars rounded up, by integers alone."""
    numerator, denominator = (Fraction(dollars) * 1_000_000).as_integer_ratio()
    return -(-numerator // denominator)


def awkward_quotes(count: int, seed: int) -> list[Decimal]:
    """Quotes as Venice might send them: short ones, long ones, and sums that binary cannot hold."""
    chance = random.Random(seed)
    quotes = [Decimal(text) for text in AWKWARD]
    while len(quotes) < count:
        digits, places = chance.randrange(10 ** chance.randint(1, 17)), chance.randint(0, 20)
        quotes.append(Decimal(digits).scaleb(-places))
    return [quote for quote in quotes if quote < 10**9]


def test_100_000_awkward_quotes_are_never_rounded_below_what_they_say() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    for quote in awkward_quotes(100_000, seed):
        assert Money.from_decimal(quote).micros == exact_ceiling(quote), quote


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0.1", 100_000),
        ("0.085", 85_000),
        ("1e-7", 1),
        ("0.000001", 1),
        ("0.0000011", 2),
        ("0.9999991", 1_000_000),
        ("-0.0000011", -1),
        ("0", 0),
        ("1E-400", 1),
        ("1000000000", MICROS_MAX),
    ],
)
def test_a_decimal_becomes_micro_dollars_rounded_up(text: str, micros: int) -> None:
    assert Money.from_decimal(Decimal(text)) == Money(micros)


def test_more_digits_than_any_precision_still_round_up() -> None:
    assert Money.from_decimal(Decimal("0.1" + "0" * 90 + "1")) == Money(100_001)
    assert Money.from_decimal(Decimal("0." + "9" * 120)) == Money(1_000_000)


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-Infinity", "1e30", "1000000000.000001"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(NotAnAmount):
        Money.from_decimal(Decimal(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nan",
        "inf",
        "1e3",
        "1e-7",
        "1,5",
        "0x10",
        "1_000",
        "+1",
        ".5",
        "5.",
        "٣",
        "$5",
        "--1",
    ],
)
def test_text_that_is_not_written_plainly_is_refused(text: str) -> None:
    with pytest.raises(NotAnAmount):
        Money.from_text(text)


@pytest.mark.parametrize(
    ("text", "shown", "number"),
    [
        ("5", "5.000000", "5"),
        ("0.25", "0.250000", "0.25"),
        ("12.345678", "12.345678", "12.345678"),
        ("-0.5", "-0.500000", "-0.5"),
        ("100", "100.000000", "100"),
        ("0", "0.000000", "0"),
        (" 7 ", "7.000000", "7"),
        # A binary fraction lies just below it.
        ("1.005", "1.005000", "1.005"),
        ("0.0000011", "0.000002", "0.000002"),
    ],
)
def test_an_amount_is_shown_with_six_places_and_as_a_short_number(
    text: str, shown: str, number: str
) -> None:
    money = Money.from_text(text)
    assert (str(money), money.as_json_number()) == (shown, number)


@given(st.integers(-MICROS_MAX, MICROS_MAX))
def test_what_is_shown_reads_back_equal(micros: int) -> None:
    money = Money(micros)
    assert Money.from_text(str(money)) == money
    assert Money.from_text(money.as_json_number()) == money


@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=25))
def test_no_decimal_is_rounded_down(dollars: Decimal) -> None:
    assert Money.from_decimal(dollars).micros == exact_ceiling(dollars)


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_sums_and_differences_are_those_of_the_integers(one: int, other: int) -> None:
    assert (Money(one) + Money(other)).micros == one + other
    assert (Money(one) - Money(other)).micros == one - other
    assert -Money(one) == ZERO - Money(one)
    assert (Money(one) < Money(other)) == (one < other)
    assert bool(Money(one)) == (one != 0)
