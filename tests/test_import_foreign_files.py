"""Importing what others wrote: their shapes, their names for columns, and files made to do harm."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.importing import FileImport, import_file
from pairsmith.pairs.json_stream import MalformedFile
from pairsmith.pairs.store.paging import page
from pairsmith.pairs.store.pair_rows import Pair
from pairsmith.pairs.store.workspace import Workspace

from .stores import content, new_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    with new_workspace(tmp_path) as made:
        yield made


def pairs(workspace: Workspace) -> list[Pair]:
    return workspace.read(lambda conn: page(conn, limit=10_000))[::-1]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(workspace: Workspace) -> list[tuple[str, str, str]]:
    return [(pair.instruction, pair.input, pair.output) for pair in pairs(workspace)]


USER, MODEL = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "q", "context": "c", "response": "a", "category": "qa"}, ("q", "c", "a")),
        ({"messages": [USER, MODEL]}, ("q", "", "a")),
        ({"messages": [{"role": "system", "content": "s"}, USER, MODEL]}, ("q", "", "a")),
        ({"messages": [{**USER, "content": [{"type": "text", "text": "q"}]}, MODEL]}, ("q", "", "a")),
        ({"conversations": [HUMAN, GPT]}, ("q", "", "a")),
        ({"conversations": [USER, MODEL]}, ("q", "", "a")),
        ({"prompt": "q", "completion": "a"}, ("q", "", "a")),
        ({"prompt": [USER], "completion": [MODEL]}, ("q", "", "a")),
    ],
)
def test_shapes_are_known_by_their_fields(
    row: dict[str, Any], expected: tuple[str, str, str], workspace: Workspace, tmp_path: Path
) -> None:
    assert import_file(workspace, lines(tmp_path / "f", row)).added == 1
    assert texts(workspace) == [expected]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": "text"}, "a text|something else"),
        ({"messages": []}, "does not begin"),
        ({"messages": [MODEL, USER]}, "does not begin"),
        ({"messages": [USER]}, "does not begin"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "does not begin"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "no text"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": []}]}, "no text"),
        ({"messages": [{**USER, "content": " "}, MODEL]}, "empty"),
        ({"conversations": [7, 8]}, "a number"),
        ({"prompt": [USER, MODEL], "completion": [MODEL]}, "2 turns"),
        ({"instruction": "q", "instances": []}, "no 'instances'"),
        ({"instruction": "q", "instances": [1]}, "not an object"),
    ],
)
def test_a_shape_that_is_broken_says_why(
    row: dict[str, Any], reason: str, workspace: Workspace, tmp_path: Path
) -> None:
    good = {"instruction": "q", "output": "a"}
    report = import_file(workspace, lines(tmp_path / "f", good, row))
    assert (report.added, report.refused, report.refusals[0].line) == (1, 1, 2)
    with pytest.raises(MalformedFile, match=reason):
        import_file(workspace, lines(tmp_path / "f", good, row), strict=True)


def test_a_long_conversation_gives_its_first_exchange_and_says_so(
    workspace: Workspace, tmp_path: Path
) -> None:
    report = import_file(workspace, lines(tmp_path / "f", {"messages": [USER, MODEL, USER, MODEL]}))
    assert "1 of the conversations are longer" in report.notes[0]
    (pair,) = pairs(workspace)
    assert pair.extra == {"more_turns": [USER, MODEL]}


SYSTEM = {"role": "system", "content": "s"}
BETTER = {"chosen": [USER, MODEL], "rejected": [USER, {**MODEL, "content": "worse"}]}


@pytest.mark.parametrize(
    ("row", "beside"),
    [
        (BETTER, None),
        ({"chosen": [HUMAN, GPT], "rejected": [HUMAN, {**GPT, "value": "worse"}]}, None),
        ({**BETTER, "prompt": "q"}, None),
        ({**BETTER, "prompt": " q\n"}, None),
        ({**BETTER, "prompt": ""}, None),
        ({**BETTER, "prompt": None}, None),
        ({**BETTER, "prompt": [USER]}, None),
        ({**BETTER, "prompt": [SYSTEM, USER]}, {"system": "s"}),
        ({name: [SYSTEM, *turns] for name, turns in BETTER.items()}, {"system": "s"}),
        ({**{name: [SYSTEM, *turns] for name, turns in BETTER.items()}, "prompt": "q"}, {"system": "s"}),
        ({**BETTER, "prompt": "q", "messages": [USER, MODEL]}, {"messages": [USER, MODEL]}),
    ],
)
def test_a_preference_between_whole_conversations_is_one_between_their_answers(
    row: dict[str, Any], beside: Any, workspace: Workspace, tmp_path: Path
) -> None:
    report = import_file(workspace, lines(tmp_path / "f", row))
    assert (report.added, report.refused) == (2, 0)
    found = [(pair.instruction, pair.output, pair.verdict, pair.extra) for pair in pairs(workspace)]
    assert found == [("q", "a", "accepted", beside), ("q", "worse", "rejected", beside)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**BETTER, "chosen": [USER, MODEL, USER, MODEL]}, "'chosen' .* more than one exchange"),
        ({**BETTER, "rejected": [USER, MODEL, USER], "prompt": "q"}, "'rejected' .* more than one exchange"),
        ({**BETTER, "rejected": [{**USER, "content": "r"}, MODEL]}, "answer different prompts"),
        ({**BETTER, "rejected": [SYSTEM, USER, MODEL]}, "answer different prompts"),
        ({**BETTER, "prompt": "r"}, "'prompt' is not what"),
        ({**BETTER, "prompt": [USER, MODEL, USER]}, "'prompt' holds 3 turns"),
        ({"prompt": "q", "chosen": [USER, MODEL], "rejected": [MODEL]}, "'rejected' does not begin"),
        ({"chosen": [USER, MODEL], "rejected": [USER]}, "'rejected' does not begin"),
        ({"chosen": "a", "rejected": "b"}, "'chosen' is .* not a list"),
    ],
)
def test_a_preference_between_conversations_that_is_none_between_answers_to_one_prompt_is_refused(
    row: dict[str, Any], reason: str, workspace: Workspace, tmp_path: Path
) -> None:
    report = import_file(workspace, lines(tmp_path / "f", {"instruction": "q", "output": "a"}, row))
    assert (report.added, report.refused, report.refusals[0].line) == (1, 1, 2)
    assert re.search(reason, report.refusals[0].reason), report.refusals[0].reason


def test_every_instance_of_a_seed_task_is_a_pair(workspace: Workspace, tmp_path: Path) -> None:
    task = {
        "id": "seed_task_0",
        "name": "n",
        "instruction": "Add.",
        "is_classification": False,
        "instances": [{"input": "1 1", "output": "2"}, {"input": "", "output": "3"}],
    }
    report = import_file(workspace, lines(tmp_path / "seed_tasks.jsonl", task))
    assert (report.rows, report.added) == (2, 2)
    assert texts(workspace) == [("Add.", "1 1", "2"), ("Add.", "", "3")]


def test_a_format_that_is_named_is_insisted_on(workspace: Workspace, tmp_path: Path) -> None:
    path = lines(tmp_path / "f", {"prompt": "q", "completion": "a"})
    with pytest.raises(MalformedFile, match="no row"):
        import_file(workspace, path, format="messages")
    with pytest.raises(MalformedFile, match="no row"):
        import_file(workspace, path, format="alpaca")
    assert import_file(workspace, path, format="prompt-completion").added == 1


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_of_any_dialect_is_found_out(mark: str, end: str, workspace: Workspace, tmp_path: Path) -> None:
    rows = [["Instruction", "note", "output"], ["a, b; c", "x", "line\r\nline\rline\n"], ["007", "", "NA"]]
    text = end.join(mark.join(f'"{cell}"' for cell in row) for row in rows) + end
    (tmp_path / "f.csv").write_bytes(text.encode("utf-8-sig"))
    report = import_file(workspace, tmp_path / "f.csv")
    assert (report.added, report.refused) == (2, 0)
    assert texts(workspace) == [("a, b; c", "", "line\r\nline\rline\n"), ("007", "", "NA")]
    assert pairs(workspace)[0].extra == {"note": "x"}


def test_columns_are_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("Question,Answer,Context,n\nq,a,c,1\n")
    with pytest.raises(MalformedFile, match="--column"):
        import_file(workspace, tmp_path / "f.csv")
    columns = {"instruction": "Question", "output": "Answer", "input": "Context"}
    assert import_file(workspace, tmp_path / "f.csv", columns=columns).added == 1
    assert texts(workspace) == [("q", "c", "a")]
    with pytest.raises(
        MalformedFile, match=r"no column 'Nothing' \(there are: Question, Answer, context, n\)"
    ):
        import_file(workspace, tmp_path / "f.csv", columns={**columns, "input": "Nothing"})
    with pytest.raises(UsageError, match="which column is the output"):
        import_file(workspace, tmp_path / "f.csv", columns={"instruction": "Question"})
    path = lines(tmp_path / "f.jsonl", {"Question": "q2", "Answer": 42})
    assert import_file(workspace, path, columns={"instruction": "Question", "output": "Answer"}).added == 1
    assert texts(workspace)[-1] == ("q2", "", "42")


def refused_csv(workspace: Workspace, path: Path, data: bytes, **flags: Any) -> FileImport:
    path.write_bytes(b"instruction,output\nq,a\n" + data)
    return import_file(workspace, path, **flags)


def test_broken_rows_of_csv_are_named_by_line(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    report = refused_csv(workspace, path, b'x\n1,2,3\n\n\xff,b\n"a\nb",c\nz,w\n')
    assert [(refusal.line, refusal.reason) for refusal in report.refusals] == [
        (3, "1 cells under 2 columns"),
        (4, "3 cells under 2 columns"),
        (6, "not UTF-8"),
    ]
    assert texts(workspace) == [("q", "", "a"), ("a\nb", "", "c"), ("z", "", "w")]
    with pytest.raises(MalformedFile, match="line 3: not CSV"):
        refused_csv(workspace, path, b'"a"b,c\nz,w\n')
    assert refused_csv(workspace, path, b'"a"b,c\nz2,w\n', skip_malformed=True).added == 1
    with pytest.raises(MalformedFile, match="line 3: not CSV"):
        refused_csv(workspace, path, b'"never closed,c\n' * 3)
    path.write_text("instruction,output,output\n")
    with pytest.raises(MalformedFile, match="occurs twice"):
        import_file(workspace, path)


def test_nul_in_csv_is_cleaned_and_formulas_are_kept_and_told(workspace: Workspace, tmp_path: Path) -> None:
    report = refused_csv(workspace, tmp_path / "f.csv", b"a\0b,=HYPERLINK(1)\n")
    assert (report.added, report.cleaned) == (2, 1)
    assert "1 of the rows have cells like formulas" in report.notes[0]
    assert texts(workspace)[1] == ("a\ufffdb", "", "=HYPERLINK(1)")


def test_columns_of_other_types_do_no_harm(workspace: Workspace, tmp_path: Path) -> None:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = pa.table(
        {
            "instruction": ["q", "r", None, "s"],
            "output": ["a", "b", "c", "d"],
            "when": [datetime.datetime(2020, 1, 1)] * 4,
            "score": [1.5, float("nan"), float("inf"), None],
            "blob": [b"\xff", b"", None, b"x"],
            "deep": [{"a": [1, 2]}, {"a": []}, None, {"a": None}],
        }
    )
    parquet.write_table(table, tmp_path / "f")
    report = import_file(workspace, tmp_path / "f")
    assert (report.added, report.refused) == (3, 1)
    assert str(report.refusals[0]) == "row 3: there is no 'instruction'"
    assert texts(workspace) == [("q", "", "a"), ("r", "", "b"), ("s", "", "d")]


@pytest.mark.parametrize(
    ("rows", "characters"), [(1_000_000, 1_000_000), (11_000_000, 10), (1_000, 30_000_000)]
)
def test_a_parquet_bomb_is_refused_and_changes_nothing(
    rows: int, characters: int, workspace: Workspace, tmp_path: Path
) -> None:
    import numpy
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = tmp_path / "bomb.parquet"
    indices = pa.array(numpy.zeros(min(rows, 1_000_000), dtype="int32"))
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * characters]))
    table = pa.table({"instruction": column, "output": column})
    with parquet.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(rows // len(indices)):
            writer.write_table(table)
    assert path.stat().st_size < 100_000
    before = workspace.read(content)
    with pytest.raises(MalformedFile, match=r"memory|rows|far more"):
        import_file(workspace, path)
    assert workspace.read(content) == before


@pytest.mark.parametrize(
    "data", [b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"PAR1" + b"\xff" * 5000 + b"\xff\xff\0\0PAR1"]
)
def test_a_parquet_file_that_is_none_is_refused(data: bytes, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(MalformedFile, match="cannot be read"):
        import_file(workspace, tmp_path / "f")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "a/b", None, 7, "a\\b", "a\0b"])
def test_a_datasets_folder_cannot_name_files_outside_of_itself(
    name: Any, workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(MalformedFile, match="outside of itself"):
        import_file(workspace, folder)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(MalformedFile, match="outside of itself"):
        import_file(workspace, folder)


def test_a_folder_that_is_no_dataset_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(PairsmithError, match="none that datasets saved"):
        import_file(workspace, tmp_path / "d")


def test_a_dataset_that_datasets_saved_is_read(workspace: Workspace, tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list([{"instruction": f"q{n}", "output": "a"} for n in range(150)])
    rows.save_to_disk(tmp_path / "one", num_shards=3)
    assert import_file(workspace, tmp_path / "one").added == 150
    datasets.DatasetDict(train=rows, test=rows).save_to_disk(tmp_path / "two")
    assert import_file(workspace, tmp_path / "two").duplicates == 300


def test_tables_of_any_database_are_read(workspace: Workspace, tmp_path: Path) -> None:
    conn = sqlite3.connect(tmp_path / "f.db")
    conn.executescript(
        """
        CREATE TABLE other (a, b);
        CREATE TABLE qa (id INTEGER PRIMARY KEY, instruction TEXT, output TEXT, note BLOB);
        INSERT INTO qa (instruction, output, note) VALUES ('q', 'a', x'ff'), ('r', CAST(x'62ff' AS TEXT), NULL);
        CREATE TABLE log (prompt TEXT, answer TEXT);
        INSERT INTO log VALUES ('p', 'z'), (NULL, 'z');
        CREATE VIEW trap AS SELECT 'v' AS instruction, 'v' AS output;
        """
    )
    conn.close()
    report = import_file(workspace, tmp_path / "f.db")
    assert (report.format, report.added, report.cleaned) == ("sqlite", 2, 1)
    columns = {"instruction": "prompt", "output": "answer"}
    report = import_file(workspace, tmp_path / "f.db", columns=columns, table="log")
    assert (report.added, report.refused) == (1, 1)
    assert texts(workspace) == [("q", "", "a"), ("r", "", "b\ufffd"), ("p", "", "z")]
    with pytest.raises(UsageError, match="no table trap"):
        import_file(workspace, tmp_path / "f.db", table="trap")
    with pytest.raises(UsageError, match="only a database has tables"):
        import_file(workspace, lines(tmp_path / "f.jsonl", {}), table="x")


def test_an_infinite_number_in_a_database_does_not_stop_the_import(
    workspace: Workspace, tmp_path: Path
) -> None:
    conn = sqlite3.connect(tmp_path / "f.db")
    conn.executescript(
        "CREATE TABLE qa (instruction, output, loss); INSERT INTO qa VALUES ('q', 'a', 9e999), ('r', 'b', 1.5);"
    )
    conn.close()
    assert import_file(workspace, tmp_path / "f.db").added == 2
    assert [pair.extra for pair in pairs(workspace)] == [None, {"loss": 1.5}]


def test_a_topic_deeper_than_anybody_sorts_is_refused_with_its_line(
    workspace: Workspace, tmp_path: Path
) -> None:
    ours = {"instruction": "q", "output": "a", "id": "x", "decided_by": ""}
    path = lines(tmp_path / "f.jsonl", {**ours, "topic": ["t"] * 3000}, {**ours, "topic": ["t"] * 100})
    report = import_file(workspace, path)
    assert (report.added, report.refused) == (1, 1)
    assert str(report.refusals[0]) == "line 1: its topic is 3,000 levels deep, and 100 are allowed"
