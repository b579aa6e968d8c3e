"""Importing rows: order, duplicates, refusals, cleaning, and undo of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.store import journal, topics
from pairsmith.pairs.store.errors import DuplicatePair
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.paging import Order, snapshot_ids
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair, get_pairs, pair_by_uid
from pairsmith.pairs.store.scores import scores_of
from pairsmith.pairs.store.verdicts import get_verdict
from tests.stores import content, new_workspace

FILE = BatchInfo("data.json", "alpaca", "00" * 32)


def test_order_lines_and_origin_are_kept(tmp_path: Path) -> None:
    rows = [ImportRow(f"q{n}", f"a{n}", input="in" if n % 3 else "", line=n + 2) for n in range(1203)]
    with new_workspace(tmp_path) as workspace:
        report = workspace.write(lambda conn: import_pairs(conn, iter(rows), FILE))
        assert (report.read, report.added, report.duplicates, report.refused) == (1203, 1203, 0, 0)
        ids = workspace.read(lambda conn: snapshot_ids(conn, order=Order("oldest")))
        pairs = workspace.read(lambda conn: get_pairs(conn, ids))
        assert [(p.instruction, p.input, p.output, p.import_line) for p in pairs] == [
            (row.instruction, row.input, row.output, row.line) for row in rows
        ]
        assert {(p.origin, p.version.maker, p.verdict) for p in pairs} == {
            ("imported", "import", "undecided")
        }


def test_several_answers_to_one_instruction_are_kept_and_same_texts_counted(tmp_path: Path) -> None:
    rows = [
        ImportRow("Name a colour", "Red", line=1),
        ImportRow("Name a colour", "Blue", line=2),
        ImportRow("name  A COLOUR", "RED", line=3),
    ]
    with new_workspace(tmp_path) as workspace:
        report = workspace.write(lambda conn: import_pairs(conn, rows, FILE))
        assert (report.added, report.duplicates, report.duplicate_lines) == (2, 1, ((3, 1),))
        again = workspace.write(lambda conn: import_pairs(conn, rows, FILE))
        assert (again.added, again.duplicates, again.entry_id, again.batch_id) == (0, 3, None, None)


def test_an_import_is_one_act_and_can_be_repeated_after_undo(tmp_path: Path) -> None:
    rows = [
        ImportRow(
            "a", "b", line=1, topic=("Branches", " merging "), verdict="rejected", reason="wrong", tags=("t",),
            note="n", scores={"nim:x/y": {"helpfulness": 4.156}}, extra={"id": 7},
        ),
        ImportRow("c", "d", line=2, topic=("branches",), verdict="accepted", rule="helpfulness >= 3"),
    ]  # fmt: skip
    with new_workspace(tmp_path) as workspace:
        start = workspace.read(content)
        report = workspace.write(lambda conn: import_pairs(conn, rows, FILE))
        end = workspace.read(content)
        first = workspace.read(lambda conn: get_pair(conn, 1))
        verdict = workspace.read(lambda conn: get_verdict(conn, first.version.id))
        assert verdict is not None
        assert (verdict.by, verdict.reason, verdict.tags, verdict.note) == ("human", "wrong", ("t",), "n")
        assert workspace.read(lambda conn: get_pair(conn, 2)).verdict_by == "rule"
        scores = workspace.read(lambda conn: scores_of(conn, [first.version.id]))
        assert scores[first.version.id]["nim:x/y"].scores == {"helpfulness": 4.156}
        assert first.extra == {"id": 7}
        paths = [topic.path for topic in workspace.read(topics.list_topics)]
        assert paths == [("Branches",), ("Branches", "merging")]
        entry = workspace.write(journal.undo)
        assert entry is not None
        assert entry.id == report.entry_id
        assert entry.label == "imported 2 pairs from data.json"
        assert workspace.read(content) == start
        workspace.write(journal.redo)
        assert workspace.read(content) == end
        workspace.write(journal.undo)
        assert workspace.write(lambda conn: import_pairs(conn, rows, FILE)).added == 2
    assert check_workspace(workspace.path) == []


def test_rows_that_cannot_be_stored_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    rows = [
        ImportRow(" \n", "x", line=4),
        ImportRow("ok", "", line=5),
        ImportRow("big", "x" * 4_000_001, line=6),
    ]
    with new_workspace(tmp_path) as workspace:
        report = workspace.write(lambda conn: import_pairs(conn, rows, FILE))
        assert (report.read, report.added, report.refused) == (3, 1, 2)
        assert report.refused_lines == (
            (4, "the instruction is empty"),
            (6, "the response is longer than 4000000 characters"),
        )


def test_a_reader_that_fails_midway_stores_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[ImportRow]:
        for n in range(1500):
            yield ImportRow(f"q{n}", "a")
        raise UsageError("line 1501 is no JSON")

    with new_workspace(tmp_path) as workspace:
        with pytest.raises(UsageError, match="line 1501"):
            workspace.write(lambda conn: import_pairs(conn, rows(), FILE))
        assert list(workspace.read(lambda conn: snapshot_ids(conn))) == []
        assert workspace.read(journal.history) == []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    instruction=st.text(min_size=1, max_size=40),
    given_input=st.text(max_size=20),
    output=st.text(max_size=40),
)
def test_any_text_comes_back_as_it_was_but_for_nul_and_surrogates(
    tmp_path_factory: pytest.TempPathFactory, instruction: str, given_input: str, output: str
) -> None:
    texts = (instruction, given_input, output)
    cleaned = tuple(
        "".join("\ufffd" if c == "\x00" or "\ud800" <= c <= "\udfff" else c for c in t) for t in texts
    )
    with new_workspace(tmp_path_factory.mktemp("any")) as workspace:
        rows = [ImportRow(instruction, output, input=given_input)]
        report = workspace.write(lambda conn: import_pairs(conn, rows, FILE))
        if not cleaned[0].strip():
            assert report.refused == 1
            return
        pair = workspace.read(lambda conn: get_pair(conn, 1))
        assert (pair.instruction, pair.input, pair.output) == cleaned
        assert report.cleaned == int(cleaned != texts)
        with pytest.raises(DuplicatePair):
            workspace.write(
                lambda conn: add_pair(conn, NewPair(instruction, output, input=given_input, origin="human"))
            )
        assert workspace.read(lambda conn: pair_by_uid(conn, pair.uid)) == pair


def test_generated_pairs_are_unique_by_instruction_and_input_others_by_the_whole_text(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        write = workspace.write
        write(lambda conn: import_pairs(conn, [ImportRow("Q", "A")], FILE))
        write(lambda conn: add_pair(conn, NewPair("q", "another answer")))
        with pytest.raises(DuplicatePair) as same:
            write(lambda conn: add_pair(conn, NewPair("Q ", "a third answer")))
        assert same.value.pair_id == 2
        write(lambda conn: add_pair(conn, NewPair("Q", "a third answer", input="x")))
        with pytest.raises(DuplicatePair):
            write(lambda conn: import_pairs_or_raise(conn))


def import_pairs_or_raise(conn: object) -> None:
    add_pair(conn, NewPair("q", "ANOTHER answer", origin="imported"))  # type: ignore[arg-type]
