"""Server-sent events are the same events however the bytes arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pairsmith.backends.sse import EventReader

lines = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=8)
ends = st.sampled_from(["\n", "\r\n", "\r"])


def read(portions: list[bytes]) -> list[str]:
    reader = EventReader()
    found = [event for portion in portions for event in reader.feed(portion)]
    return found + reader.finish()


@given(st.lists(st.lists(lines, min_size=1, max_size=3), max_size=4), ends, st.data())
def test_any_splitting_gives_the_same_events(events: list[list[str]], end: str, data: st.DataObject) -> None:
    text = "".join(
        "".join(f"data: {line}{end}" for line in event) + f": comment{end}id: 7{end}" + end
        for event in events
    )
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    portions = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert read(portions) == ["\n".join(event) for event in events]


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_no_bytes_break_it(portions: list[bytes]) -> None:
    read(portions)


def test_a_line_separator_inside_the_data_splits_nothing() -> None:
    assert read(["data: a\u2028b\u0085c\x0bd\n\n".encode()]) == ["a\u2028b\u0085c\x0bd"]


def test_the_space_after_the_colon_may_be_missing() -> None:
    assert read([b"data:x\n\ndata:  y\n\n"]) == ["x", " y"]


def test_the_last_blank_line_may_be_missing() -> None:
    assert read([b"data: [DONE]"]) == ["[DONE]"]


def test_a_byte_order_mark_is_skipped() -> None:
    assert read([b"\xef\xbb", b"\xbfdata: x\n\n"]) == ["x"]
