"""The normal form behind "unique", and the keys made of it."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.normalise import KEY_BYTES, normal_form, pair_key, text_key


@given(st.text())
def test_normal_form_is_idempotent(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)


@given(st.text())
def test_composed_and_decomposed_text_have_one_normal_form(text: str) -> None:
    assert normal_form(unicodedata.normalize("NFD", text)) == normal_form(unicodedata.normalize("NFC", text))


def test_case_white_space_and_composition_do_not_count() -> None:
    assert normal_form("  Stra\u00dfe\t\n E\u0301t\u00c9\u00a0\u2003X ") == "strasse \u00e9t\u00e9 x"


def test_punctuation_and_symbols_count() -> None:
    assert len({normal_form(text) for text in ("C", "C++", "C#", "C.")}) == 4


@given(st.text(), st.text(), st.text(), st.text())
def test_pairs_with_different_normal_forms_have_different_keys(a: str, b: str, c: str, d: str) -> None:
    same = (normal_form(a), normal_form(b)) == (normal_form(c), normal_form(d))
    assert (pair_key(a, b) == pair_key(c, d)) == same


def test_text_moved_between_fields_changes_the_key() -> None:
    assert pair_key("a b", "c") != pair_key("a", "b c")
    assert text_key("a", "b", "") != text_key("a", "", "b")


def test_no_input_is_an_empty_input() -> None:
    assert pair_key("a", None) == pair_key("a", " ") == pair_key("A")
    assert text_key("a", None, "b") == text_key("a", "", "b")


def test_a_pair_and_a_text_never_share_a_key_and_both_have_sixteen_bytes() -> None:
    assert pair_key("a", "b") != text_key("a", "b", "")
    assert len(pair_key("a")) == len(text_key("a", "", "")) == KEY_BYTES == 16


def test_lone_surrogates_have_a_key_too() -> None:
    assert pair_key("\ud800") != pair_key("\ud801")
