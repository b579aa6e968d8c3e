"""Word diffs hold both texts exactly and mark words, not letters."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from pairsmith.pairs.word_diff import MOST_WORDS, word_diff
from pairsmith.tui.screens.review_versions import diff_rows

TEXTS = st.text(st.sampled_from("ab c\n.中文"), max_size=60)


@given(TEXTS, TEXTS)
def test_both_texts_can_be_put_together_again(before: str, after: str) -> None:
    changes = word_diff(before, after)
    assert "".join(change.text for change in changes if change.kind != "added") == before
    assert "".join(change.text for change in changes if change.kind != "removed") == after


def test_a_changed_word_is_one_change() -> None:
    kinds = [(change.kind, change.text) for change in word_diff("git commit now", "git push now")]
    assert kinds == [("same", "git "), ("removed", "commit"), ("added", "push"), ("same", " now")]


def test_long_texts_are_compared_by_line() -> None:
    before = "word " * MOST_WORDS + "\nlast"
    changes = word_diff(before, before.replace("last", "end"))
    assert [change.kind for change in changes] == ["same", "removed", "added"]


@given(st.text(max_size=200), st.text(max_size=200), st.integers(8, 60))
@example("", "00000000\x80 ", 9)
def test_shown_lines_fit(before: str, after: str, width: int) -> None:
    for row in diff_rows(before, after, width):
        assert sum(cell_len(piece.text) for piece in row) <= width + 2
