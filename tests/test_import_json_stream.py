"""Files of JSON read piece by piece: whatever can be written is read back, whatever is broken is named by its line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairsmith.pairs import json_stream
from pairsmith.pairs.json_stream import BadPiece, MalformedFile, Piece, read_array, read_lines

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def good(pieces: Any) -> list[Any]:
    found = list(pieces)
    assert all(isinstance(piece, Piece) for piece in found), found
    return [piece.value for piece in found]


def line_of_failure(path: Path) -> int | None:
    """Where an array is malformed; None where it is not, 0 where it does not say."""
    try:
        list(read_array(path))
    except MalformedFile as error:
        return error.line or 0
    return None


@QUIET
@given(
    values=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 0, 1, "\t"]), ascii_only=st.booleans()
)
def test_any_array_is_read_element_by_element(
    values: list[Any],
    indent: int | str | None,
    ascii_only: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", newline="")
    for chunk in (1, 7, 1 << 20):
        monkeypatch.setattr(json_stream, "_CHUNK", chunk)
        assert good(read_array(path)) == values


@QUIET
@given(values=st.lists(VALUES, max_size=6), mark=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_any_lines_are_read(values: list[Any], mark: bool, end: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    text = end.join(json.dumps(value, ensure_ascii=False) for value in values)
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    assert good(read_lines(path)) == values


@QUIET
@given(data=st.binary(max_size=60))
def test_no_bytes_whatever_raise_anything_but_a_malformed_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    list(read_lines(path))
    for content in (data, b"[" + data, b'["' + data, b"[{" + data + b"}]"):
        path.write_bytes(content)
        assert line_of_failure(path) != 0


@QUIET
@given(values=st.lists(VALUES, min_size=1, max_size=4), cut=st.integers(1, 40))
def test_an_array_that_is_cut_off_is_malformed(values: list[Any], cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    text = json.dumps(values, indent=1)
    path.write_text(text[: max(1, len(text) - cut)])
    with pytest.raises(MalformedFile):
        list(read_array(path))


def test_elements_carry_the_line_they_begin_on(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\n[\n{"a":\n1}\n, {"b": 2},\n\n{"c": 3}]\n')
    assert [(p.line, p.element) for p in read_array(path)] == [(3, 1), (5, 2), (7, 3)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "too large"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": %s}' % ("9" * 5000), "5000 digits"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "nested"),
    ],
)
def test_json_that_cannot_be_stored_is_a_bad_piece_and_the_rest_is_read(
    text: str, reason: str, tmp_path: Path
) -> None:
    lines, array = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text(f'{{"x": 1}}\n{text}\n{{"x": 2}}\n')
    array.write_text(f'[{{"x": 1}},\n{text},\n{{"x": 2}}]')
    for pieces in (list(read_lines(lines)), list(read_array(array))):
        first, bad, last = pieces
        assert isinstance(first, Piece)
        assert isinstance(last, Piece)
        assert isinstance(bad, BadPiece)
        assert reason in bad.reason
        assert (bad.line, bad.syntax) == (2, False)


def test_two_hundred_thousand_levels_are_refused_without_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" + "[" * 200_000 + "]" * 200_000 + "]")
    (piece,) = read_array(path)
    assert isinstance(piece, BadPiece)
    path.write_text("[" + "[" * 200_000)
    with pytest.raises(MalformedFile):
        list(read_array(path))


def test_brackets_inside_of_texts_are_no_nesting(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"code": "[" * 500 + '"}{' + "\\"}
    path.write_text(json.dumps([value, value]))
    assert good(read_array(path)) == [value, value]


def test_invalid_utf8_is_a_bad_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n{"a": 2}\n')
    pieces = list(read_lines(path))
    assert isinstance(pieces[1], BadPiece)
    assert "UTF-8" in pieces[1].reason
    assert isinstance(pieces[2], Piece)


def test_a_line_that_is_too_long_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_PIECE", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK", 100)
    long = json.dumps({"a": "x" * 5000})
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"a": 1}}\n{long}\n{{"a": 2}}\n')
    assert [type(piece) for piece in read_lines(path)] == [Piece, BadPiece, Piece]
    many = json.dumps({"a": ["x" * 90] * 60})
    path.write_text(f'[{{"a": 1}},\n{many},\n{{"a": 2}}]')
    assert [type(piece) for piece in read_array(path)] == [Piece, BadPiece, Piece]


def test_a_large_array_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("w") as file:
        file.write("[")
        for n in range(20_000):
            file.write((",\n" if n else "") + json.dumps({"n": n, "text": "x" * 1000}))
        file.write("]")
    tracemalloc.start()
    count = sum(1 for _ in read_array(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 8_000_000
