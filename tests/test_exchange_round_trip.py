"""What is exported comes back as it was, whichever format holds it; foreign readers see the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from pairsmith.pairs.export_formats import asked
from pairsmith.pairs.export_rows import pairs_of, preferences_of
from pairsmith.pairs.exporting import ExportSettings, export_pairs
from pairsmith.pairs.importing import import_file
from pairsmith.pairs.store import journal
from pairsmith.pairs.store.import_rows import ImportRow
from pairsmith.pairs.store.paging import page
from pairsmith.pairs.store.pair_rows import prepare_text
from pairsmith.pairs.store.workspace import Workspace

from .stores import new_workspace
from .test_export_files import NASTY, QUIET, ROWS, export, fill, what_counts

NASTY_ROWS = [
    *(ImportRow(f"{n} {text}", text, text, topic=("a|b",)) for n, text in enumerate(NASTY)),
    *(ImportRow(text, f"{n}") for n, text in enumerate(NASTY) if text.strip()),
    ImportRow("@SUM(1)", "-2+3", "'=x"),
    ImportRow("+1", "\t=2", "\r\n=3"),
    ImportRow('"=1"', "''=2", "'"),
    ImportRow("long", "ab\u2028c " * 400_000),
]


def texts(workspace: Workspace) -> list[tuple[str, str, str]]:
    return [
        (pair.instruction, pair.input, pair.output)
        for pair in workspace.read(lambda conn: page(conn, limit=100_000))[::-1]
    ]


def as_asked(workspace: Workspace) -> list[tuple[str, str, str]]:
    """What formats without an input hold: instruction and input as one turn."""

    def read(conn: Any) -> list[tuple[str, str, str]]:
        ids = [pair.id for pair in page(conn, limit=100_000)[::-1]]
        return [(asked(pair), "", pair.output) for pair in pairs_of(conn, ids)]

    return workspace.read(read)


WHOLE: dict[str, Callable[[Workspace], list[Any]]] = {
    "jsonl": what_counts,
    "parquet": what_counts,
    "hf": what_counts,
    "argilla": what_counts,
    "alpaca": texts,
    "csv": texts,
    "spreadsheet": texts,
    "messages": as_asked,
    "sharegpt": as_asked,
    "prompt-completion": as_asked,
}


def once(rows: list[Any]) -> list[Any]:
    """Without rows that a workspace takes for the same text as an earlier one."""
    seen: set[bytes] = set()
    return [
        row
        for row in rows
        if not ((key := prepare_text(*row[:3]).text_key) in seen or seen.add(key))  # type: ignore[func-returns-value]
    ]


def there_and_back(format_name: str, folder: Path, rows: list[ImportRow]) -> None:
    with new_workspace(folder, "a") as first, new_workspace(folder, "b") as second:
        fill(first, rows)
        path = folder / (
            "out" if format_name == "hf" else "out.csv" if format_name == "spreadsheet" else "out.x"
        )
        real = "csv" if format_name == "spreadsheet" else format_name
        export(first, path, format=real, spreadsheet=format_name == "spreadsheet")
        report = import_file(second, path, format="csv" if real == "csv" else "auto")
        assert (report.refused, report.cleaned) == (0, 0)
        look = WHOLE[format_name]
        kept = texts(second) if look is as_asked else look(second)
        assert kept == once(look(first))


@pytest.mark.parametrize("format_name", sorted(WHOLE))
def test_nasty_texts_come_back_as_they_were(format_name: str, tmp_path: Path) -> None:
    there_and_back(format_name, tmp_path, NASTY_ROWS)


@pytest.mark.parametrize("format_name", [name for name in sorted(WHOLE) if name not in ("parquet", "hf")])
@QUIET
@given(rows=ROWS)
def test_any_text_comes_back_as_it_was(
    rows: list[ImportRow], tmp_path_factory: pytest.TempPathFactory, format_name: str
) -> None:
    there_and_back(format_name, tmp_path_factory.mktemp("any"), rows)


def test_preferences_come_back_as_preferences(tmp_path: Path) -> None:
    def preferences(workspace: Workspace) -> list[tuple[str, str, str]]:
        ids = [pair.id for pair in workspace.read(lambda conn: page(conn, limit=1000))[::-1]]
        return workspace.read(
            lambda conn: [(asked(pair), pair.output, pair.rejected) for pair in preferences_of(conn, ids)]
        )

    with new_workspace(tmp_path, "a") as first, new_workspace(tmp_path, "b") as second:
        for n, text in enumerate(NASTY):
            fill(first, [ImportRow(f"{n} {text}", f"good {text}", verdict="accepted")])
            fill(first, [ImportRow(f"{n} {text}", f"bad {text}", verdict="rejected")])
        assert export(first, tmp_path / "out", format="dpo").pairs == len(NASTY)
        report = import_file(second, tmp_path / "out")
        assert report.added == 2 * len(NASTY)
        assert preferences(second) == preferences(first)
        second.write(journal.undo)
        assert texts(second) == []


def test_a_human_edit_is_preferred_to_the_text_that_it_replaced(tmp_path: Path) -> None:
    from pairsmith.pairs.store.edits import add_model_version, edit_pair
    from pairsmith.pairs.store.verdicts import decide

    from .stores import add_pairs

    with new_workspace(tmp_path) as workspace:
        edited, again, asked_anew, undecided = add_pairs(workspace, 4)
        workspace.write(lambda conn: edit_pair(conn, edited, output="better"))
        workspace.write(lambda conn: decide(conn, [again], "rejected"))
        workspace.write(lambda conn: add_model_version(conn, again, "regenerated"))
        workspace.write(lambda conn: decide(conn, [again], "accepted"))
        workspace.write(lambda conn: edit_pair(conn, asked_anew, instruction="another question"))
        found = workspace.read(
            lambda conn: [
                (pair.output, pair.rejected)
                for pair in preferences_of(conn, [edited, again, asked_anew, undecided])
            ]
        )
        assert found == [("better", "Answer 0"), ("regenerated", "Answer 1")]
        workspace.write(lambda conn: decide(conn, [edited], "rejected"))
        assert export(workspace, tmp_path / "out", format="dpo").pairs == 1


def test_another_workspace_comes_with_topics_verdicts_and_scores(tmp_path: Path) -> None:
    with new_workspace(tmp_path, "a") as first, new_workspace(tmp_path, "b") as second:
        fill(
            first,
            [
                *NASTY_ROWS[:9],
                ImportRow("q", "a", verdict="rejected", rule="r", scores={"j": {"x": 1.5}}),
                ImportRow(
                    "r", "a", verdict="rejected", reason="wrong", tags=("fact", "a|b"), note="\x1b[2J see 3"
                ),
            ],
        )
        report = import_file(second, tmp_path / "a")
        assert (report.format, report.added) == ("workspace", 11)
        assert what_counts(second) == what_counts(first)


def test_foreign_readers_read_the_same_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pandas = pytest.importorskip("pandas")
    import pyarrow.parquet as parquet

    with new_workspace(tmp_path) as workspace:
        fill(workspace, NASTY_ROWS)
        kept = texts(workspace)
        for name in ("jsonl", "alpaca", "csv", "parquet", "hf"):
            export(workspace, tmp_path / name, format=name)

        def three(rows: Any) -> list[tuple[str, str, str]]:
            return [(row["instruction"], row["input"], row["output"]) for row in rows]

        assert three(parquet.read_table(tmp_path / "parquet").to_pylist()) == kept
        assert three(pandas.read_parquet(tmp_path / "parquet").to_dict("records")) == kept
        lines = pandas.read_json(tmp_path / "jsonl", lines=True, dtype=False)
        assert three(lines.to_dict("records")) == kept
        cells = pandas.read_csv(tmp_path / "csv", dtype=str, keep_default_na=False)
        assert three(cells.to_dict("records")) == kept
        assert three(datasets.load_from_disk(str(tmp_path / "hf"))["train"]) == kept
        for kind, name in (("json", "jsonl"), ("json", "alpaca"), ("parquet", "parquet")):
            loaded = datasets.load_dataset(
                kind, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
            )
            assert three(loaded) == kept


def test_the_stored_split_is_exported_and_kept(tmp_path: Path) -> None:
    from pairsmith.pairs.splits import stored_sides

    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow(f"w{n}a w{n}b w{n}c w{n}d", f"Answer {n}") for n in range(100)])
        report = export_pairs(workspace, tmp_path / "out", ExportSettings("hf", split=True))
        assert report.splits == {"train": 85, "validation": 5, "test": 10}
        before = workspace.read(stored_sides)
        import datasets

        loaded = datasets.load_from_disk(str(tmp_path / "out"))
        assert {name: len(rows) for name, rows in loaded.items()} == report.splits
        export_pairs(workspace, tmp_path / "again", ExportSettings("hf", split=True))
        assert workspace.read(stored_sides) == before
        assert (tmp_path / "again" / "manifest.json").read_bytes() == (
            tmp_path / "out" / "manifest.json"
        ).read_bytes()
