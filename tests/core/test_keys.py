"""A key is one word, a typing error in it is found, and nothing but its digest is needed."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.keys import (
    ID_CHARACTERS,
    SECRET_CHARACTERS,
    base62,
    compose,
    digest,
    parse,
    random_text,
)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ids = st.text(ALPHABET, min_size=ID_CHARACTERS, max_size=ID_CHARACTERS)
secrets = st.text(ALPHABET, min_size=SECRET_CHARACTERS, max_size=SECRET_CHARACTERS)
KEY = compose("0123456789", "s" * SECRET_CHARACTERS)


@given(ids, secrets, st.booleans())
def test_a_key_gives_back_its_id_and_kind(key_id: str, secret: str, admin: bool) -> None:
    key = compose(key_id, secret, admin=admin)
    parsed = parse(key)
    assert parsed is not None
    assert (parsed.id, parsed.is_admin) == (key_id, admin)
    assert key.startswith("vga_" if admin else "vgw_")


def test_a_double_click_selects_a_whole_key() -> None:
    assert re.fullmatch(r"\w{53}", KEY, re.ASCII)


def test_every_single_wrong_character_is_found() -> None:
    for at, right in enumerate(KEY):
        for wrong in "_" + ALPHABET:
            if wrong != right:
                assert parse(KEY[:at] + wrong + KEY[at + 1 :]) is None


def test_every_swap_of_neighbours_is_found() -> None:
    key = compose("aB3dE5gH7j", "kL1nO9qR2tU4wX6zAbCdEfGhIjKlMnOp")
    for at in range(len(key) - 1):
        swapped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
        assert swapped == key or parse(swapped) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vgw_",
        KEY[:-1],
        KEY + "a",
        KEY + "\n",
        " " + KEY,
        KEY.replace("vgw", "VGW"),
        KEY.replace("vgw", "vga"),
        KEY * 3,
        "a" * 2**20,
        "vgw_0123456789_" + "ß" * 38,
        "vgw_" + "\uff10" * 10 + "_" + "s" * 38,
    ],
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert parse(text) is None


@given(st.binary(min_size=SECRET_CHARACTERS, max_size=64))
def test_random_bytes_become_letters_and_digits_of_the_asked_length(chance: bytes) -> None:
    text = random_text(chance, SECRET_CHARACTERS)
    assert len(text) == SECRET_CHARACTERS
    assert set(text) <= set(ALPHABET)


def test_different_random_bytes_become_different_texts() -> None:
    texts = {
        random_text(number.to_bytes(ID_CHARACTERS, "big"), ID_CHARACTERS) for number in range(5_000)
    }
    assert len(texts) == 5_000


@given(st.lists(st.integers(0, 62**8 - 1), min_size=2))
def test_numbers_in_letters_and_digits_are_ordered_as_they_are(numbers: list[int]) -> None:
    assert sorted(base62(n, 8) for n in numbers) == [base62(n, 8) for n in sorted(numbers)]
    assert {len(base62(number, 8)) for number in numbers} == {8}


def test_too_few_random_bytes_are_a_bug_of_ours() -> None:
    with pytest.raises(AssertionError, match="unguessable"):
        random_text(b"x" * (SECRET_CHARACTERS - 1), SECRET_CHARACTERS)


def test_what_is_stored_is_the_sha_256_also_of_text_no_encoding_holds() -> None:
    assert digest("vgw") == hashlib.sha256(b"vgw").hexdigest()
    assert len(digest("\ud800")) == 64
