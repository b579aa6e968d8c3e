"""Configurations for other trainers: each names the export, its columns and the usual next models. That the trainers'
own parsers read them is shown by benchmarks/foreign_loaders.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.trainer_configs import ALL, TRAINERS, check_trainers, trainers_folder, write_trainers

from .command_line import run
from .stores import add_pairs, new_workspace
from .test_export_files import everything

READ_BY = {
    "alpaca": {"axolotl", "llama-factory", "litgpt"},
    "jsonl": {"axolotl", "llama-factory", "litgpt"},
    "parquet": {"axolotl", "llama-factory"},
    "messages": {"axolotl", "llama-factory", "trl"},
    "sharegpt": {"axolotl", "llama-factory"},
    "prompt-completion": {"trl"},
    "dpo": {"axolotl", "trl"},
}


def named(folder: Path, form: str, name: str = "out") -> Path:
    return folder / f"{name}{FORMATS[form].suffix}"


@pytest.mark.parametrize("form", sorted(READ_BY))
def test_all_means_the_trainers_that_read_the_format(form: str, tmp_path: Path) -> None:
    assert set(check_trainers(named(tmp_path, form), form, [ALL])) == READ_BY[form]


@pytest.mark.parametrize("form", sorted(set(FORMATS) - set(READ_BY)))
def test_a_format_that_no_trainer_reads_is_refused(form: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trainer reads"):
        check_trainers(named(tmp_path, form), form, [ALL])


@pytest.mark.parametrize("form", sorted(READ_BY))
@pytest.mark.parametrize("name", ["out", 'a "b" ünï 👩\u200d👧: #', "-- x'", "a\u2028b"])
def test_every_configuration_names_the_export_and_both_models(form: str, name: str, tmp_path: Path) -> None:
    path = named(tmp_path, form, name)
    written = write_trainers(path, form, check_trainers(path, form, [ALL]))
    assert all(file.parent == trainers_folder(path) for file in written)
    read: dict[str, Any] = {
        file.name: yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in written
        if file.suffix == ".yaml"
    }
    assert len(read) == 2 * len(READ_BY[form])
    for file, config in read.items():
        model = "gemma-2-2b" if "gemma" in file else "Llama-3.1-8B"
        assert model in str(config)
        assert all(not isinstance(value, str) or value[:1] not in "/~" for value in config.values())
        if file.startswith("litgpt"):
            assert config["data"]["init_args"]["json_path"] == path.name
        elif file.startswith("trl"):
            assert config["datasets"][0]["data_files"] == path.name
        elif file.startswith("axolotl"):
            assert config["datasets"][0]["path"] == path.name
        else:
            folder = tmp_path / config["dataset_dir"]
            about = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))[config["dataset"]]
            assert (folder / about["file_name"]).resolve() == path
        assert isinstance(config.get("learning_rate", 0.1), float)


def test_preferences_are_trained_as_preferences(tmp_path: Path) -> None:
    path = named(tmp_path, "dpo")
    write_trainers(path, "dpo", ["axolotl", "trl"])
    folder = trainers_folder(path)
    axolotl = yaml.safe_load((folder / "axolotl-gemma-2-2b.yaml").read_text())
    assert (axolotl["rl"], axolotl["datasets"][0]["field_rejected"]) == ("dpo", "rejected")
    assert yaml.safe_load((folder / "trl-gemma-2-2b.yaml").read_text())["learning_rate"] == 5e-6
    assert "trl dpo --config" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("form", "name", "trainer", "why"),
    [
        ("messages", "o.jsonl", "litgpt", "litgpt does not read the format messages"),
        ("alpaca", "o.json", "trl", "trl does not read the format alpaca"),
        ("alpaca", "o.txt", "litgpt", "name it o.json"),
        ("jsonl", "o.json", "llama-factory", "name it o.jsonl"),
        ("alpaca", "o[1].json", "litgpt", "a pattern"),
    ],
)
def test_what_a_trainer_would_not_read_is_refused(
    form: str, name: str, trainer: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as error:
        check_trainers(tmp_path / name, form, [trainer])
    assert why in f"{error.value} {error.value.advice}"


def test_a_configuration_that_was_changed_is_not_overwritten(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
    out, again = tmp_path / "out.json", ("--format", "alpaca", "--trainer", "all")
    done = run("export", tmp_path / "w.pairsmith", out, *again)
    assert done.code == 0, done.err
    assert "configurations for axolotl, llama-factory, litgpt" in done.out
    folder = trainers_folder(out)
    before = everything(folder)
    assert run("export", tmp_path / "w.pairsmith", out, *again).code == 0
    assert everything(folder) == before
    changed = folder / "litgpt-gemma-2-2b.yaml"
    changed.write_text(changed.read_text().replace("epochs: 3", "epochs: 5"))
    out.unlink()
    run("export", tmp_path / "w.pairsmith", out, *again).assert_one_line_error(2, "changed by hand")
    assert "epochs: 5" in changed.read_text()
    assert not out.exists()
    assert run("export", tmp_path / "w.pairsmith", out, *again[:2], "--trainer", "axolotl").code == 0


def test_the_command_says_where_they_are_in_json_too(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
    out = tmp_path / "o.jsonl"
    done = run("export", tmp_path / "w.pairsmith", out, "--format", "messages", "--trainer", "trl", "--json")
    assert [Path(file).name for file in json.loads(done.out)["trainers"]] == [
        "trl-gemma-2-2b.yaml",
        "trl-llama-3.1-8b.yaml",
        "README.md",
    ]
    run("export", tmp_path / "w.pairsmith", "-", "--trainer", "trl").assert_one_line_error(
        2, "standard output"
    )
    assert set(TRAINERS) == {"axolotl", "llama-factory", "litgpt", "trl", "all"}
