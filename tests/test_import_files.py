"""Importing files: the shapes that exist, what is cleaned, what is refused and how that is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.import_formats import Unusable, alpaca_row
from pairsmith.pairs.importing import FileImport, import_file
from pairsmith.pairs.json_stream import MalformedFile
from pairsmith.pairs.store import journal
from pairsmith.pairs.store.paging import page
from pairsmith.pairs.store.pair_rows import Pair
from pairsmith.pairs.store.scores import scores_of
from pairsmith.pairs.store.topics import list_topics
from pairsmith.pairs.store.verdicts import get_verdict
from pairsmith.pairs.store.workspace import Workspace

from .stores import content, new_workspace

ROW = {"instruction": "Make a branch", "input": "", "output": "git branch x"}


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    with new_workspace(tmp_path) as made:
        yield made


def imported(workspace: Workspace, path: Path, data: Any, **flags: Any) -> FileImport:
    """Write the data as a JSON array or, for a list of texts, as they are, and import the file."""
    raw = isinstance(data, list) and data and isinstance(data[0], bytes)
    path.write_bytes(b"".join(data) if raw else json.dumps(data).encode())
    return import_file(workspace, path, **flags)


def pairs(workspace: Workspace) -> list[Pair]:
    return workspace.read(lambda conn: page(conn, limit=10_000))[::-1]


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {"instruction": "Make a branch", "output": "git branch x"},
        {"instruction": "Make a branch", "input": None, "output": "git branch x"},
        {"instruction": "Make a branch", "response": "git branch x"},
        {"instruction": "Make a branch", "responses": "git branch x"},
        {"instruction": "Make a branch", "responses": ["git branch x"]},
        {"instruction": "Make a branch", "output": None, "response": "git branch x"},
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_every_spelling_of_a_row(
    row: dict[str, Any], lines: bool, workspace: Workspace, tmp_path: Path
) -> None:
    data: Any = [json.dumps(row).encode()] if lines else [row]
    assert imported(workspace, tmp_path / "f", data).added == 1
    (pair,) = pairs(workspace)
    assert (pair.instruction, pair.input, pair.output) == ("Make a branch", "", "git branch x")
    assert (pair.origin, pair.verdict, pair.import_line) == ("imported", "undecided", 1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"output": "x"}, "no 'instruction'"),
        ({"instruction": "", "output": "x"}, "empty"),
        ({"instruction": " \n", "output": "x"}, "empty"),
        ({"instruction": 5, "output": "x"}, "a number"),
        ({"instruction": "a"}, "no 'output'"),
        ({"instruction": "a", "output": None}, "no 'output'"),
        ({"instruction": "a", "output": ["x"]}, "a list"),
        ({"instruction": "a", "responses": ["x", "y"]}, "2 texts"),
        ({"instruction": "a", "responses": []}, "0 texts"),
        ({"instruction": "a", "responses": [7]}, "a number"),
        ({"instruction": "a", "input": {"b": 1}, "output": "x"}, "an object"),
    ],
)
def test_a_row_that_cannot_be_a_pair_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        alpaca_row(row, 1)


def test_refused_rows_are_reported_by_line_and_the_others_imported(
    workspace: Workspace, tmp_path: Path
) -> None:
    rows = [
        ROW,
        {"instruction": "x"},
        "text",
        {"instruction": "b", "output": "c"},
        {"instruction": "", "output": "c"},
    ]
    report = imported(workspace, tmp_path / "f.jsonl", [json.dumps(row).encode() + b"\n" for row in rows])
    assert (report.rows, report.added, report.refused) == (5, 2, 3)
    assert [refusal.line for refusal in report.refusals] == [2, 3, 5]
    report = imported(workspace, tmp_path / "f.json", rows)
    assert [refusal.element for refusal in report.refusals] == [2, 3, 5]


def test_strict_imports_nothing_where_a_row_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.read(content)
    with pytest.raises(MalformedFile, match=r"line 1 \(element 2\).*no 'output'"):
        imported(workspace, tmp_path / "f", [ROW, {"instruction": "x"}], strict=True)
    assert workspace.read(content) == before


def test_a_line_that_is_no_json_stops_all_unless_it_may_be_skipped(
    workspace: Workspace, tmp_path: Path
) -> None:
    data = [json.dumps(ROW).encode() + b"\n", b"{oops\n", b'{"instruction": "b", "output": "c"}\n']
    before = workspace.read(content)
    with pytest.raises(MalformedFile, match="line 2: not JSON"):
        imported(workspace, tmp_path / "f", data)
    assert workspace.read(content) == before
    report = imported(workspace, tmp_path / "f", data, skip_malformed=True)
    assert (report.added, report.refused, report.refusals[0].line) == (2, 1, 2)


def test_what_no_file_can_hold_is_cleaned_and_said(workspace: Workspace, tmp_path: Path) -> None:
    data = [
        b'{"instruction": "a\\u0000b", "output": "c\\ud800d", "note": "\\u0000 \\udfff"}\n',
        json.dumps(ROW).encode(),
    ]
    report = imported(workspace, tmp_path / "f", data)
    assert (report.added, report.cleaned) == (2, 1)
    first = pairs(workspace)[0]
    assert (first.instruction, first.output) == ("a\ufffdb", "c\ufffdd")
    assert first.extra == {"note": "\x00 \ufffd"}


def test_mark_line_ends_and_odd_separators_survive(workspace: Workspace, tmp_path: Path) -> None:
    text = "one\r\ntwo\u2028three\u2029four\u0085five\x0bsix"
    data = [b"\xef\xbb\xbf", json.dumps({**ROW, "output": text}, ensure_ascii=False).encode(), b"\r\n"]
    assert imported(workspace, tmp_path / "f", data).added == 1
    assert pairs(workspace)[0].output == text


def test_other_fields_are_kept_beside_the_pair(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path / "f", [{**ROW, "id": 7, "category": "qa", "deep": {"a": [1, None]}}])
    assert pairs(workspace)[0].extra == {"id": 7, "category": "qa", "deep": {"a": [1, None]}}


def test_importing_again_adds_nothing_and_counts_duplicates(workspace: Workspace, tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "output": "another answer"}, ROW]
    first = imported(workspace, tmp_path / "f", rows)
    assert (first.added, first.duplicates, first.duplicate_lines) == (2, 1, ((1, 1),))
    again = imported(workspace, tmp_path / "f", rows)
    assert (again.added, again.duplicates, again.rows) == (0, 3, 3)
    assert len(pairs(workspace)) == 2


def test_an_import_is_one_act_that_is_undone(workspace: Workspace, tmp_path: Path) -> None:
    imported(workspace, tmp_path / "f", [ROW, {**ROW, "instruction": "b"}])
    workspace.write(journal.undo)
    assert pairs(workspace) == []
    workspace.write(journal.redo)
    assert len(pairs(workspace)) == 2


def test_a_preview_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.read(content)
    report = imported(workspace, tmp_path / "f", [ROW, {"instruction": "x"}], preview=True)
    assert (report.added, report.refused, report.preview) == (1, 1, True)
    assert workspace.read(content) == before


def test_an_import_that_is_stopped_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise Stopped

    rows = [{**ROW, "instruction": f"number {n}"} for n in range(1500)]
    with pytest.raises(Stopped):
        imported(workspace, tmp_path / "f", rows, check=check)
    assert pairs(workspace) == []


def test_our_own_fields_bring_topic_verdict_and_scores(workspace: Workspace, tmp_path: Path) -> None:
    own = {
        **ROW,
        "id": "abc",
        "topic": ["Branching", "beginner"],
        "verdict": "rejected",
        "decided_by": "rule",
        "rule": "filter x > 3",
        "model": "nim:x",
        "scores": {"judge": {"helpfulness": 4.156, "broken": None, "wild": 1e308}},
    }
    imported(workspace, tmp_path / "f", [own])
    (pair,) = pairs(workspace)
    assert (pair.verdict, pair.verdict_by) == ("rejected", "rule")
    verdict = workspace.read(lambda conn: get_verdict(conn, pair.version.id))
    assert verdict is not None
    assert verdict.rule == "filter x > 3"
    scores = workspace.read(lambda conn: scores_of(conn, [pair.version.id]))
    assert scores[pair.version.id]["judge"].scores == {"helpfulness": 4.156}
    assert [topic.path for topic in workspace.read(list_topics)] == [
        ("Branching",),
        ("Branching", "beginner"),
    ]


def test_fields_of_the_same_name_in_a_strangers_file_decide_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    imported(
        workspace, tmp_path / "f", [{**ROW, "verdict": "accepted", "topic": "x", "scores": {"a": {"b": 1}}}]
    )
    (pair,) = pairs(workspace)
    assert (pair.verdict, pair.topic_id) == ("undecided", None)
    assert pair.extra == {"verdict": "accepted", "topic": "x", "scores": {"a": {"b": 1}}}
