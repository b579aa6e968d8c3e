"""A sealed export: whatever was changed has a name, what was not is not accused, and no key is in any of its bytes."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.exporting import ExportSettings, export_pairs
from pairsmith.pairs.importing import import_file
from pairsmith.pairs.manifest import Manifest, manifest_path
from pairsmith.pairs.store.import_rows import ImportRow
from pairsmith.pairs.trainer_configs import check_trainers
from pairsmith.pairs.verify_export import verify_export

from .command_line import run
from .stores import new_workspace
from .test_export_files import NASTY, export, fill

LINES = ("jsonl", "alpaca", "messages", "sharegpt", "prompt-completion", "dpo", "csv", "argilla")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same hundreds of pairs in every format, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("exports")
    with new_workspace(folder) as workspace:
        rows = []
        for n in range(300):
            text = NASTY[n % len(NASTY)]
            rows += [
                ImportRow(f"Question {n} {text}", f"Answer {n} {text}", verdict="accepted"),
                ImportRow(f"Question {n} {text}", f"Wrong {n}", verdict="rejected"),
            ]
        fill(workspace, rows)
        for name in FORMATS:
            export(workspace, folder / f"out.{name}", format=name, verdict="accepted")
    return folder


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_is_as_it_was_written_is_not_accused(name: str, exports: Path) -> None:
    found = verify_export(exports / f"out.{name}")
    assert (found.rows, found.problems) == (300, [])


def flipped(path: Path, at: int, rng: random.Random) -> bytes:
    """Flip a bit of one byte; returns what was there."""
    before = path.read_bytes()
    path.write_bytes(before[:at] + bytes([before[at] ^ 1 << rng.randrange(8)]) + before[at + 1 :])
    return before


@pytest.mark.parametrize("name", LINES)
def test_a_byte_that_is_flipped_in_any_of_a_hundred_rows_names_that_row(name: str, exports: Path) -> None:
    path, rng = exports / f"out.{name}", random.Random(name)
    entries = list(Manifest(manifest_path(path)).rows())
    for entry in rng.sample(entries, 100):
        before = flipped(path, entry["at"] + rng.randrange(entry["bytes"]), rng)
        try:
            found = verify_export(path).problems
            assert [problem.text for problem in found] == [
                f"row {entry['row']:,} (pair {entry['id']}) was changed"
            ]
        finally:
            path.write_bytes(before)


def test_a_row_of_a_datasets_folder_is_named(exports: Path) -> None:
    path = exports / "out.hf"
    data, rng = path / "train" / "data-00000-of-00001.arrow", random.Random(1)
    for number in rng.sample(range(300), 100):
        mark = f"Answer {number} ".encode()
        before = flipped(data, data.read_bytes().index(mark) + 2, random.Random(3))
        try:
            (problem,) = verify_export(path).problems
            assert f"row {number + 1} of train " in problem.text
        finally:
            data.write_bytes(before)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `push` stages: Parquet files in a folder."""
    folder = tmp_path_factory.mktemp("hub")
    with new_workspace(folder) as workspace:
        fill(
            workspace, [ImportRow(f"Question {n} {NASTY[n % len(NASTY)]}", f"Answer {n}") for n in range(300)]
        )
        export(workspace, folder / "out.hub", format="hub")
    return folder / "out.hub"


@pytest.mark.parametrize("name", ["parquet", "hub"])
def test_a_byte_that_is_flipped_in_any_of_a_hundred_values_of_a_parquet_file_names_that_row(
    name: str, exports: Path, hub: Path
) -> None:
    """Values are compressed, so a row's byte is flipped in what a reader sees: the file is written again with it."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path, rng = (hub, random.Random(1)) if name == "hub" else (exports / "out.parquet", random.Random(2))
    data = next(path.rglob("*.parquet")) if name == "hub" else path
    before, table = data.read_bytes(), parquet.read_table(data)
    try:
        for number in rng.sample(range(300), 100):
            column = rng.choice(("instruction", "output", "id", "verdict"))
            values = table[column].to_pylist()
            text = values[number]
            at = rng.randrange(len(text))
            values[number] = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
            place = table.schema.get_field_index(column)
            parquet.write_table(table.set_column(place, column, pa.array(values)), data)
            problems = [p.text.split(" (")[0] for p in verify_export(path).problems]
            assert problems == [f"row {number + 1}{' of train' if name == 'hub' else ''}"]
    finally:
        data.write_bytes(before)


def test_a_byte_that_is_flipped_anywhere_in_a_parquet_file_is_said(exports: Path) -> None:
    path = exports / "out.parquet"
    before = path.read_bytes()
    try:
        for at in random.Random(2).sample(range(len(before)), 100):
            path.write_bytes(before)
            flipped(path, at, random.Random(at))
            assert verify_export(path).problems
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("change", ["longer", "shorter", "gone"])
def test_a_row_of_another_length_is_the_only_one_that_is_named(name: str, change: str, exports: Path) -> None:
    path = exports / f"out.{name}"
    entry = list(Manifest(manifest_path(path)).rows())[99]
    before = path.read_bytes()
    start, end = entry["at"], entry["at"] + entry["bytes"]
    middle = {
        "longer": before[start : start + 3] + b"more" + before[start + 3 : end],
        "shorter": before[start + 3 : end],
        "gone": b"",
    }[change]
    try:
        path.write_bytes(before[:start] + middle + before[end:])
        problems = verify_export(path).problems
        assert [problem.text for problem in problems] == [f"row 100 (pair {entry['id']}) was changed"]
    finally:
        path.write_bytes(before)


def test_changes_outside_of_rows_and_missing_files_are_named(exports: Path) -> None:
    path = exports / "out.alpaca"
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    assert "outside of its rows" in verify_export(path).problems[0].text
    path.write_bytes(before)
    readme = exports / "out.hf" / "README.md"
    card = readme.read_bytes()
    readme.write_bytes(card + b"!")
    assert verify_export(readme.parent).problems[0].text == "README.md was changed"
    readme.unlink()
    assert verify_export(readme.parent).problems[0].text == "README.md is missing"
    readme.write_bytes(card)


def test_a_manifest_that_was_changed_itself_is_refused(exports: Path) -> None:
    path = exports / "out.jsonl"
    sealed, rng = manifest_path(path), random.Random(5)
    data = sealed.read_bytes()
    try:
        for _ in range(60):
            flipped(sealed, rng.randrange(len(data)), rng)
            with pytest.raises(PairsmithError):
                verify_export(path)
            sealed.write_bytes(data)
        for cut in (0, 1, 500, len(data) // 2, len(data) - 1):
            sealed.write_bytes(data[:cut])
            with pytest.raises(PairsmithError):
                verify_export(path)
    finally:
        sealed.write_bytes(data)


def test_the_command_names_the_row(exports: Path) -> None:
    path = exports / "out.csv"
    assert "300 rows, all as written" in run("verify", path).out
    entry = list(Manifest(manifest_path(path)).rows())[6]
    before = flipped(path, entry["at"] + 4, random.Random(0))
    done = run("verify", path)
    done.assert_one_line_error(1, "1 problem")
    assert "row 7 " in done.out
    path.write_bytes(before)
    (exports / "lone.jsonl").write_text("{}\n")
    run("verify", exports / "lone.jsonl").assert_one_line_error(1, "no manifest")


def test_a_folder_that_no_export_made_is_not_replaced(exports: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow("q", "a")])
        with pytest.raises(UsageError, match="no export of Pairsmith made"):
            export(workspace, tmp_path / "mine", format="hf")
        (tmp_path / "file").write_text("x")
        with pytest.raises(UsageError, match="is not a folder"):
            export(workspace, tmp_path / "file", format="hf")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["thesis.txt", "train/notes.md", ".git/HEAD", "extra/empty"])
def test_nor_is_an_exported_folder_into_which_somebody_put_files_of_their_own(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow("q", "a")])
        export(workspace, folder, format="hf")
        (folder / "train" / "cache-0123.arrow").write_bytes(b"what datasets keeps there")
        export(workspace, folder, format="hf")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("years of work")
        with pytest.raises(UsageError, match="which no export of Pairsmith put there"):
            export(workspace, folder, format="hf")
    assert (folder / name).read_text() == "years of work"


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
@pytest.mark.parametrize("name", ["jsonl", "alpaca", "parquet"])
def test_a_file_whose_name_is_not_utf8_is_written_with_card_and_manifest(name: str, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow("q", "a")])
        export(workspace, path, format=name, card=True)
        assert path.with_name(path.name + ".card.md").is_file()
        found = verify_export(path)
        assert (found.rows, found.problems) == (1, [])
        assert import_file(workspace, path).duplicates == 1
    with pytest.raises(UsageError, match="not UTF-8"):
        check_trainers(path, "jsonl", ["axolotl"])


def test_the_card_has_true_numbers_and_front_matter_that_is_read(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    with new_workspace(tmp_path) as workspace:
        hostile = "---\n# **x** <script> | ` [a](b)"
        fill(
            workspace,
            [
                ImportRow(f"q{n}", "a", topic=(hostile,), verdict="accepted", scores={"j|`": {"x": float(n)}})
                for n in range(5)
            ],
        )
        fill(workspace, [ImportRow("r", "a", verdict="rejected"), ImportRow("s", "a")])
        settings = ExportSettings("jsonl", card=True)
        report = export_pairs(workspace, tmp_path / "out.jsonl", settings)
        text = (tmp_path / "out.jsonl.card.md").read_text(encoding="utf-8")
        export_pairs(workspace, tmp_path / "out.jsonl", settings)
        assert (tmp_path / "out.jsonl.card.md").read_text(encoding="utf-8") == text
    assert report.pairs == 6
    card = DatasetCard(text)
    assert card.data.to_dict()["size_categories"] == ["n<1K"]
    assert card.data.to_dict()["configs"][0]["data_files"] == [{"split": "train", "path": "out.jsonl"}]
    assert "| accepted | 5 |" in text
    assert "| undecided | 1 |" in text
    assert "| 5 | 2.00 (0.61 to 3.39) | 0: 1, 1: 1, 2: 1, 3: 1, 4: 1 |" in text
    assert "script" in text
    assert "<script>" not in text


def test_the_card_says_the_licence_that_was_given_and_else_that_none_was(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    with new_workspace(tmp_path) as workspace:
        fill(workspace, [ImportRow("q", "a")])
        for licence, said in (("cc-by-4.0", "`cc-by-4.0`. The texts"), ("", "Not stated. The texts")):
            export_pairs(workspace, tmp_path / "out", ExportSettings("jsonl", card=True, licence=licence))
            text = (tmp_path / "out.card.md").read_text(encoding="utf-8")
            assert said in text
            assert DatasetCard(text).data.to_dict()["license"] == (licence or "unknown")
        with pytest.raises(UsageError, match="no identifier"):
            export_pairs(workspace, tmp_path / "out", ExportSettings(card=True, licence="MIT\n---\n"))
