"""Importing what Argilla and distilabel hold: statuses become verdicts, numbers scores, a person's text a version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.importing import FileImport, import_file
from pairsmith.pairs.store import journal
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.pair_rows import get_versions
from pairsmith.pairs.store.scores import scores_of
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace

from .stores import add_pairs, new_workspace
from .test_export_files import QUIET, TEXT, export, what_counts
from .test_import_foreign_files import lines, pairs, texts

ANN, BEN = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    with new_workspace(tmp_path) as made:
        yield made


def read(workspace: Workspace, folder: Path, *rows: Any) -> FileImport:
    return import_file(workspace, lines(folder / "f.jsonl", *rows))


def answer(value: Any, status: str | None = "submitted", user: str = ANN) -> dict[str, Any]:
    return {"value": value, "user_id": user, **({"status": status} if status else {})}


def record(**parts: Any) -> dict[str, Any]:
    """A record as Argilla 2 writes it."""
    empty: dict[str, Any] = {"metadata": {}, "suggestions": {}, "responses": {}, "vectors": {}}
    return {
        "id": "r",
        "fields": {"instruction": "q", "output": "a"},
        **empty,
        "status": "pending",
        "_server_id": None,
    } | parts


def verdicts(workspace: Workspace) -> list[tuple[str, str | None]]:
    return [(pair.verdict, pair.verdict_by) for pair in pairs(workspace)]


def scores(workspace: Workspace) -> list[dict[str, dict[str, float]]]:
    found = pairs(workspace)
    given = workspace.read(lambda conn: scores_of(conn, [pair.version.id for pair in found]))
    return [{j: dict(said.scores) for j, said in given.get(p.version.id, {}).items()} for p in found]


@pytest.mark.parametrize(
    ("answers", "status", "expected"),
    [
        ([], "pending", "undecided"),
        ([answer(4, "submitted")], "completed", "accepted"),
        ([answer(4, "discarded")], "pending", "rejected"),
        ([answer(4, "draft")], "pending", "undecided"),
        ([answer(4, None)], "completed", "accepted"),
        ([answer(4, None)], "pending", "undecided"),
        ([answer(4), answer(2, user=BEN)], "completed", "accepted"),
        ([answer(4), answer(2, "discarded", BEN)], "completed", "undecided"),
        ([answer(4), answer(2, "draft", BEN)], "completed", "accepted"),
    ],
)
def test_statuses_of_an_argilla_record_become_a_verdict(
    answers: list[Any], status: str, expected: str, workspace: Workspace, tmp_path: Path
) -> None:
    read(workspace, tmp_path, record(responses={"rating": answers}, status=status))
    assert verdicts(workspace) == [(expected, None if expected == "undecided" else "human")]


@pytest.mark.parametrize(
    ("question", "value", "expected"),
    [("quality", "bad", "rejected"), ("quality", "good", "accepted"), ("verdict", "rejected", "rejected")],
)
def test_what_a_person_answered_counts_more_than_that_they_did(
    question: str, value: str, expected: str, workspace: Workspace, tmp_path: Path
) -> None:
    read(workspace, tmp_path, record(responses={question: [answer(value)]}, status="completed"))
    assert verdicts(workspace) == [(expected, "human")]


def test_numbers_are_scores_of_who_gave_them_and_the_rest_is_kept(
    workspace: Workspace, tmp_path: Path
) -> None:
    read(
        workspace,
        tmp_path,
        record(
            suggestions={
                "helpfulness": {"value": 4, "score": 0.9, "agent": "gpt-x"},
                "kind": {"value": ["a", "b"], "score": [0.5, 0.4], "agent": "classifier"},
            },
            responses={"helpfulness": [answer(2)], "comment": [answer("hm")]},
            metadata={"source": "mine"},
            vectors={"bert": [0.1] * 900},
        ),
    )
    assert scores(workspace) == [{"gpt-x": {"helpfulness": 4.0}, f"person:{ANN}": {"helpfulness": 2.0}}]
    assert pairs(workspace)[0].extra == {
        "metadata": {"source": "mine"},
        "vectors_left_out": ["bert"],
        "suggestions": {
            "helpfulness": {"score": 0.9, "agent": "gpt-x"},
            "kind": {"value": ["a", "b"], "score": [0.5, 0.4], "agent": "classifier"},
        },
        "responses": {"comment": [{"user_id": ANN, "value": "hm"}]},
    }


def test_a_persons_text_replaces_the_suggested_one_and_is_preferred_to_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    fields = {"prompt": "q", "context": "c"}
    suggested = {"response": {"value": "model's", "score": None, "agent": "m"}}
    typed = {"response": [answer("person's")]}
    read(workspace, tmp_path, record(fields=fields, suggestions=suggested, responses=typed))
    (pair,) = pairs(workspace)
    assert (pair.instruction, pair.input, pair.output, pair.verdict) == ("q", "c", "person's", "accepted")
    versions = workspace.read(lambda conn: get_versions(conn, pair.id))
    assert [(v.number, v.maker, v.output) for v in versions] == [
        (1, "import", "model's"),
        (2, "human", "person's"),
    ]
    assert pair.versions == 2
    assert export(workspace, tmp_path / "out", format="dpo").pairs == 1
    assert json.loads((tmp_path / "out").read_text())["rejected"][0]["content"] == "model's"
    workspace.write(journal.undo)
    assert pairs(workspace) == []
    workspace.write(journal.redo)
    assert texts(workspace) == [("q", "c", "person's")]


def test_two_persons_texts_are_two_pairs_and_a_discarded_one_none(
    workspace: Workspace, tmp_path: Path
) -> None:
    typed = [answer("ann's"), answer("ben's", user=BEN), answer("x", "discarded", "c")]
    read(workspace, tmp_path, record(fields={"question": "q"}, responses={"corrected_answer": typed}))
    assert texts(workspace) == [("q", "", "ann's"), ("q", "", "ben's")]
    assert verdicts(workspace) == [("accepted", "human")] * 2


FLAT = {
    "id": "r",
    "status": "completed",
    "_server_id": "s",
    "instruction": "q",
    "output": "a",
    "quality.responses": ["good"],
    "quality.responses.users": [ANN],
    "quality.responses.status": ["submitted"],
    "rating.suggestion": 3,
    "rating.suggestion.score": None,
    "rating.suggestion.agent": "m",
}
OLD = {
    "instruction": "q",
    "output": "a",
    "quality": [{"user_id": ANN, "value": "good", "status": "submitted"}],
    "quality-suggestion": "bad",
    "quality-suggestion-metadata": {"type": "model", "score": None, "agent": "m"},
    "rating": [],
    "rating-suggestion": 3,
    "rating-suggestion-metadata": {"type": "model", "score": None, "agent": "m"},
    "metadata": "{}",
    "external_id": "r",
}


@pytest.mark.parametrize("row", [FLAT, OLD], ids=["columns", "argilla-1"])
def test_flat_layouts_of_argilla_are_known_by_their_columns(
    row: Any, workspace: Workspace, tmp_path: Path
) -> None:
    read(workspace, tmp_path, row)
    assert texts(workspace) == [("q", "", "a")]
    assert verdicts(workspace) == [("accepted", "human")]
    assert scores(workspace) == [{"m": {"rating": 3.0}}]


def test_numbered_responses_become_pairs_with_their_own_ratings(workspace: Workspace, tmp_path: Path) -> None:
    """distilabel's PreferenceToArgilla."""
    read(
        workspace,
        tmp_path,
        record(
            fields={"id": "x", "instruction": "q", "generations-0": "a", "generations-1": "b"},
            suggestions={
                "generations-0-rating": {"value": 5, "score": None, "agent": "m"},
                "generations-1-rating": {"value": 2, "score": None, "agent": "m"},
                "generations-1-rationale": {"value": "wrong", "score": None, "agent": "m"},
            },
        ),
    )
    assert texts(workspace) == [("q", "", "a"), ("q", "", "b")]
    assert scores(workspace) == [{"m": {"rating": 5.0}}, {"m": {"rating": 2.0}}]
    assert [("suggestions" in (pair.extra or {})) for pair in pairs(workspace)] == [False, True]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": "x"}, "no field"),
        ({"instruction": 7}, "a number"),
        ({"instruction": " ", "output": "a"}, "empty"),
        ({"instruction": "q"}, "no response"),
        ({"chat": [{"role": "assistant", "content": "a"}]}, "one person's turn"),
        ({"prompt": ["x"]}, "not an object"),
    ],
)
def test_records_that_are_no_pair_are_refused_with_the_reason(
    fields: Any, reason: str, workspace: Workspace, tmp_path: Path
) -> None:
    good = record(fields={"instruction": "good", "output": "a"})
    report = read(workspace, tmp_path, good, record(fields=fields))
    assert (report.added, report.refused) == (1, 1)
    assert reason in report.refusals[0].reason


def test_what_nobody_expects_in_a_record_is_refused_or_passed_over(
    workspace: Workspace, tmp_path: Path
) -> None:
    odd: list[Any] = [None, 1, "x", [], [1], {"value": 1}, {"q": 1}, {"q": [1]}, {"q": {"value": {}}}]
    rows = [
        record(**{part: thing}, fields={"instruction": f"{part} {n}", "output": "a"})
        for n, thing in enumerate(odd)
        for part in ("suggestions", "responses", "metadata", "vectors", "status")
        if not (part == "responses" and thing is None)
    ]
    report = read(workspace, tmp_path, *rows)
    assert report.added + report.refused == len(rows)
    assert report.refused == 0


def test_an_edited_pair_comes_back_with_the_text_that_was_replaced(tmp_path: Path) -> None:
    with new_workspace(tmp_path, "a") as first, new_workspace(tmp_path, "b") as second:
        edited, rejected, undecided, _ = add_pairs(first, 4)
        for pair_id in (edited, rejected, undecided):
            first.write(lambda conn, pair_id=pair_id: edit_pair(conn, pair_id, output=f"better {pair_id}"))
        first.write(lambda conn: decide(conn, [edited], "accepted", note="n", tags=["t"]))
        first.write(lambda conn: decide(conn, [rejected], "rejected", reason="wrong"))
        export(first, tmp_path / "out.json", format="argilla")
        report = import_file(second, tmp_path / "out.json")
        assert (report.added, report.refused) == (4, 0)
        assert what_counts(second) == what_counts(first)
        export(second, tmp_path / "again.json", format="argilla")

        def without_ids(path: Path) -> Any:
            rows = json.loads(path.read_text())
            for row in rows:
                row["metadata"]["pairsmith"] = json.loads(row["metadata"]["pairsmith"]) | {"id": ""}
                del row["id"]
            return rows

        assert without_ids(tmp_path / "again.json") == without_ids(tmp_path / "out.json")


def test_a_verdict_given_in_argilla_outranks_ours(tmp_path: Path) -> None:
    with new_workspace(tmp_path, "a") as first, new_workspace(tmp_path, "b") as second:
        ids = add_pairs(first, 3)
        first.write(lambda conn: decide(conn, ids[:1], "accepted", by="rule", rule="r"))
        export(first, tmp_path / "out.json", format="argilla")
        rows = json.loads((tmp_path / "out.json").read_text())
        rows[0]["responses"] = {"verdict": [answer("rejected", "discarded")]}
        rows[1]["responses"] = {"output": [answer("typed there")]}
        (tmp_path / "out.json").write_text(json.dumps(rows))
        import_file(second, tmp_path / "out.json")
        assert verdicts(second) == [("rejected", "human"), ("accepted", "human"), ("undecided", None)]
        assert texts(second)[1][2] == "typed there"


def test_the_record_class_of_argilla_takes_the_export(tmp_path: Path) -> None:
    argilla = pytest.importorskip("argilla")
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
        export(workspace, tmp_path / "out.json", format="argilla")
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [argilla.Record.from_dict(row).fields["instruction"] for row in rows]
    assert "argilla" in FORMATS


ULTRA = {
    "instruction": "q",
    "generations": ["good", "poor", None, "good"],
    "generation_models": ["m1", "m2", "m3", "m4"],
    "ratings": [5, 1.5, None, 4],
    "rationales": ["clear", "wrong", None, ""],
    "model_name": "judge-x",
    "distilabel_metadata": {"raw_output_ultra_feedback_0": "..."},
    "system_prompt": "be brief",
    "source": "s",
}


def test_generations_of_distilabel_become_pairs_with_their_ratings(
    workspace: Workspace, tmp_path: Path
) -> None:
    report = read(workspace, tmp_path, ULTRA)
    assert (report.added, report.refused) == (2, 0)
    assert texts(workspace) == [("q", "", "good"), ("q", "", "poor")]
    assert scores(workspace) == [{"judge-x": {"rating": 5.0}}, {"judge-x": {"rating": 1.5}}]
    assert verdicts(workspace) == [("undecided", None)] * 2
    first, second = pairs(workspace)
    assert first.extra == {"system": "be brief", "source": "s", "model": "m1"}
    judged = workspace.read(lambda conn: scores_of(conn, [second.version.id]))[second.version.id]
    assert judged["judge-x"].rationale == "wrong"


def test_what_distilabel_chose_and_rejected_is_decided_by_rule(workspace: Workspace, tmp_path: Path) -> None:
    user = {"role": "user", "content": "q"}
    chosen, rejected = ({"role": "assistant", "content": text} for text in ("good", "poor"))
    row = ULTRA | {
        "chosen": [user, chosen],
        "rejected": [user, rejected],
        "generations": ["good", "fair", "poor"],
    }
    read(workspace, tmp_path, row | {"ratings": [5, 3, 1], "generation_models": None})
    assert [pair.output for pair in pairs(workspace)] == ["good", "fair", "poor"]
    assert verdicts(workspace) == [("accepted", "rule"), ("undecided", None), ("rejected", "rule")]
    assert export(workspace, tmp_path / "out", format="dpo").pairs == 1


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "q", "generation": "a", "model_name": "m"}, ("q", "", "a")),
        ({"prompt": "q", "generations": ["a"]}, ("q", "", "a")),
        ({"messages": [{"role": "user", "content": "q"}], "generation": "a"}, ("q", "", "a")),
    ],
)
def test_other_columns_of_distilabel_are_known(
    row: Any, expected: Any, workspace: Workspace, tmp_path: Path
) -> None:
    read(workspace, tmp_path, row)
    assert texts(workspace) == [expected]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "q", "generations": [None, None]}, "the model failed"),
        ({"instruction": "q", "generations": [1]}, "a number"),
        ({"instruction": 1, "generation": "a"}, "a number"),
        ({"instruction": " ", "generation": "a"}, "empty"),
        ({"messages": [], "generation": "a"}, "one person's turn"),
    ],
)
def test_rows_of_distilabel_that_are_no_pair_are_refused(
    row: Any, reason: str, workspace: Workspace, tmp_path: Path
) -> None:
    report = read(workspace, tmp_path, {"instruction": "good", "generation": "a"}, row)
    assert report.refused == 1
    assert reason in report.refusals[0].reason


@QUIET
@given(
    rows=st.lists(st.tuples(TEXT.filter(lambda text: text.strip() != ""), TEXT, TEXT), min_size=1, max_size=5)
)
def test_any_generation_and_any_record_comes_in_as_it_is(
    rows: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for shape in ("distilabel", "argilla"):
        with new_workspace(folder, shape) as workspace:
            given = [
                {"instruction": f"{n} {asked}", "generations": [one, two]}
                if shape == "distilabel"
                else record(
                    fields={"instruction": f"{n} {asked}"},
                    suggestions={"output": {"value": one, "score": None, "agent": None}},
                    responses={"output": [answer(two)]},
                )
                for n, (asked, one, two) in enumerate(rows)
            ]
            report = read(workspace, folder, *given)
            assert (report.refused, report.cleaned) == (0, 0)
            kept = {(instruction, output) for instruction, _, output in texts(workspace)}
            for n, (asked, one, two) in enumerate(rows):
                assert (f"{n} {asked}", one if shape == "distilabel" else two) in kept
