"""Search: whatever is typed is a query, and finds the text in any script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.integrity import check_search_index, rebuild_search_index
from pairsmith.pairs.store.paging import page_ids
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.search import SearchTimedOut, deadline, search, spaced
from pairsmith.pairs.store.workspace import Workspace
from tests.stores import new_workspace

TEXTS = {
    1: ("How do I merge two branches?", "Use git merge."),
    2: ("什么是机器学习？", "机器学习是GPT模型的基础。"),
    3: ("C++ templates: what's a don't-care?", "naïve café"),
    4: ("ภาษาไทยคืออะไร", "ภาษา"),
    5: ("これはテストです", "カタカナ"),
    6: ("merge\ttables\nin pandas", "df.merge()"),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with new_workspace(tmp_path_factory.mktemp("search")) as found:
        for instruction, output in TEXTS.values():
            found.write(lambda conn, i=instruction, o=output: add_pair(conn, NewPair(i, o)))  # type: ignore[misc]
        yield found


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("merge", [6, 1]), ("MERGE git", [1]), ("mer", [6, 1]), ("mer git", []), 
        ("git mer", [1]), ("me", []), ('"git merge"', [1]), ('"merge git"', []),
        ("机器", [2]), ("学习", [2]), ("机习", []), ("GPT模型", [2]), ("gpt", [2]), ("GPT", [2]),
        ("模型的基础", [2]), ("学", [2]),
        ("cafe", [3]), ("NAÏVE", [3]), ("c++", [3]), ("don't-care", [3]), ("ภาษา", [4]), ("テスト", [5]),
        ("", []), ("   ", []), ("!!", []), ("AND", []), ("NOT merge", []), ("merge*", [6, 1]), ("zzz", []),
    ],
)  # fmt: skip
def test_it_finds(workspace: Workspace, query: str, ids: list[int]) -> None:
    assert workspace.read(lambda conn: search(conn, query)) == (ids, True)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="\"'*():^-+{}[]\\ aANDORNT学\x00\ud800", max_size=30))
def test_no_input_raises(workspace: Workspace, query: str) -> None:
    conn = workspace.connect()
    try:
        ids, complete = search(conn, query)
        assert complete
        assert set(ids) <= set(TEXTS)
        assert set(page_ids(conn, PairFilter(text=query))) <= set(TEXTS)
    finally:
        conn.close()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_run_of_a_texts_own_characters_finds_it(workspace: Workspace, data: st.DataObject) -> None:
    pair_id = data.draw(st.sampled_from([2, 4, 5]))
    text = TEXTS[pair_id][0].rstrip("？")
    start = data.draw(st.integers(0, len(text) - 1))
    piece = text[start : data.draw(st.integers(start + 1, len(text)))]
    found, _ = workspace.read(lambda conn: search(conn, piece))
    if any(char.isalnum() for char in piece):
        assert pair_id in found


def test_an_edit_is_found_by_its_new_text_only(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: add_pair(conn, NewPair("old 旧", "x")))
        workspace.write(lambda conn: edit_pair(conn, 1, instruction="new 新"))
        found = {q: workspace.read(lambda conn, q=q: search(conn, q))[0] for q in ("old", "旧", "new", "新")}  # type: ignore[misc]
        assert found == {"old": [], "旧": [], "new": [1], "新": [1]}
        workspace.write(lambda conn: conn.execute("UPDATE version SET output = 'tampered' WHERE number = 2"))
        assert workspace.read(lambda conn: search(conn, "tampered"))[0] == [1]
    assert check_search_index(workspace.path) == []


def test_a_broken_index_is_noticed_and_rebuilt(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: add_pair(conn, NewPair("old", "x")))
        workspace.write(
            lambda conn: conn.execute(
                "INSERT INTO pair_fts (pair_fts, rowid, instruction, input, output, spaced)"
                " VALUES ('delete', 1, 'old', '', 'x', '')"
            )
        )
        assert workspace.read(lambda conn: search(conn, "old"))[0] == []
        assert [problem.kind for problem in check_search_index(workspace.path)] == ["search"]
        workspace.write(rebuild_search_index)
        assert workspace.read(lambda conn: search(conn, "old"))[0] == [1]


def test_a_deadline_ends_a_search_with_what_it_has(workspace: Workspace) -> None:
    conn = workspace.connect()
    with pytest.raises(SearchTimedOut), deadline(conn, 0.01):
        conn.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        ).fetchone()
    assert search(conn, "merge")[0] == [6, 1]
    conn.close()


def test_plain_text_costs_no_room_for_unspaced_scripts() -> None:
    assert spaced("Plain ASCII", "naïve café") == ""
    assert spaced("是a否", "plain").split() == ["是", "a", "否"]
