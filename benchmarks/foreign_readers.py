"""What other programs read of our exports: run by foreign_loaders.py with the Python of an environment of theirs.

    PYTHON foreign_readers.py FOLDER readers|llama-factory

FOLDER holds the exports and `expected.json`. Prints a JSON line for every check: what read what, how many rows, and why
not where they differ. Imports nothing of Pairsmith.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Row = tuple[str, ...]
FOLDER = Path(sys.argv[1])
EXPECTED: dict[str, list[list[str]]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
THREE = ("instruction", "input", "output")
CHATS = ("messages", "sharegpt", "prompt-completion", "dpo")
NAMES = {
    "alpaca": "alpaca.json",
    "jsonl": "jsonl.jsonl",
    "csv": "csv.csv",
    "parquet": "parquet.parquet",
    "hf": "hf",
    "argilla": "argilla.json",
    **{name: f"{name}.jsonl" for name in CHATS},
}


def three(rows: Iterable[Any]) -> list[Row]:
    """Instruction, input and output of rows of columns."""
    return [tuple("" if row[name] is None else row[name] for name in THREE) for row in rows]


def turns(rows: Iterable[Any], form: str) -> list[Row]:
    """What a person said and what was answered, in each of the formats of chats."""
    found: list[Row] = []
    for row in rows:
        if form == "messages":
            found.append(tuple(turn["content"] for turn in row["messages"]))
        elif form == "sharegpt":
            found.append(tuple(turn["value"] for turn in row["conversations"]))
        else:
            parts = (
                ("prompt", "completion") if form == "prompt-completion" else ("prompt", "chosen", "rejected")
            )
            found.append(tuple(row[part][0]["content"] for part in parts))
    return found


def expected(form: str) -> list[Row]:
    """The rows that an export holds."""
    return [tuple(row) for row in EXPECTED["dpo" if form == "dpo" else "asked" if form in CHATS else "three"]]


def check(reader: str, form: str, read: Callable[[], list[Row]]) -> None:
    """Compare what `read` gives, row by row and in order, and print the outcome."""
    why, rows = "", 0
    try:
        got, wanted = read(), expected(form)
        rows = len(got)
        if len(got) != len(wanted):
            why = f"{len(got)} rows, not {len(wanted)}"
        elif differing := [n for n, (a, b) in enumerate(zip(got, wanted, strict=True), 1) if a != b]:
            n = differing[0] - 1
            shown = f"{str(got[n])[:80]!r} for {str(wanted[n])[:80]!r}"
            why = f"{len(differing)} rows differ, the first is {n + 1}: {shown}"
    except BaseException as error:  # the report goes on with the next reader
        traceback.print_exc()
        why = f"{type(error).__name__}: {str(error)[:200]}"
    print(json.dumps({"reader": reader, "format": form, "rows": rows, "ok": not why, "why": why}), flush=True)


def parsed(reader: str, what: str, parse: Callable[[], object]) -> None:
    """Let a trainer's own parser read a configuration, and print the outcome."""
    why = ""
    try:
        parse()
    except BaseException as error:  # as above
        traceback.print_exc()
        why = f"{type(error).__name__}: {str(error)[:300]}"
    print(json.dumps({"reader": reader, "format": what, "rows": None, "ok": not why, "why": why}), flush=True)


def loaded(kind: str, file: str) -> Any:
    """A file through `datasets.load_dataset`."""
    import datasets

    return datasets.load_dataset(
        kind, data_files=str(FOLDER / file), split="train", cache_dir=str(FOLDER / "cache")
    )


def read_tables() -> None:
    """datasets, pandas and pyarrow."""
    import datasets
    import pandas
    import pyarrow.parquet as parquet

    name = f"datasets {datasets.__version__}"
    for form in ("alpaca", "jsonl"):
        check(name, form, lambda form=form: three(loaded("json", NAMES[form])))
    check(name, "parquet", lambda: three(loaded("parquet", NAMES["parquet"])))
    check(
        f"{name}, keep_default_na=False",
        "csv",
        lambda: three(
            datasets.load_dataset(
                "csv",
                data_files=str(FOLDER / NAMES["csv"]),
                split="train",
                cache_dir=str(FOLDER / "cache"),
                keep_default_na=False,
            )
        ),
    )
    check(name, "hf", lambda: three(datasets.load_from_disk(str(FOLDER / "hf"))["train"]))
    for form in CHATS:
        check(name, form, lambda form=form: turns(loaded("json", NAMES[form]), form))
    name = f"pandas {pandas.__version__}"
    check(name, "parquet", lambda: three(pandas.read_parquet(FOLDER / NAMES["parquet"]).to_dict("records")))
    for form, lines in (("jsonl", True), ("alpaca", False)):
        check(
            name,
            form,
            lambda form=form, lines=lines: three(
                pandas.read_json(FOLDER / NAMES[form], lines=lines, dtype=False).to_dict("records")
            ),
        )
    check(
        name,
        "csv",
        lambda: three(
            pandas.read_csv(FOLDER / NAMES["csv"], dtype=str, keep_default_na=False).to_dict("records")
        ),
    )
    name = f"pyarrow {version('pyarrow')}"
    check(name, "parquet", lambda: three(parquet.read_table(FOLDER / NAMES["parquet"]).to_pylist()))


def read_trl() -> None:
    """TRL's checks of formats, its mixtures of datasets, and its command line's configurations."""
    import yaml
    from trl import DatasetMixtureConfig, get_dataset
    from trl.data_utils import is_conversational
    from trl.scripts.utils import DatasetConfig

    name = f"trl {version('trl')}"
    for form in ("messages", "prompt-completion", "dpo"):

        def read(form: str = form) -> list[Row]:
            text = (FOLDER / f"{NAMES[form]}.trainers" / "trl-gemma-2-2b.yaml").read_text(encoding="utf-8")
            data = yaml.safe_load(text)["datasets"]
            rows = get_dataset(DatasetMixtureConfig(datasets=[DatasetConfig(**part) for part in data]))[
                "train"
            ]
            assert all(is_conversational(row) for row in rows)
            return turns(rows, form)

        check(f"{name}, is_conversational", form, read)
        for file in sorted((FOLDER / f"{NAMES[form]}.trainers").glob("trl-*.yaml")):
            parsed(name, f"{form}: {file.name}", lambda file=file, form=form: _trl_config(file, form))


def _trl_config(file: Path, form: str) -> None:
    from trl.scripts import dpo, sft

    made = (
        (dpo if form == "dpo" else sft)
        .make_parser()
        .parse_args_and_config(["--config", str(file), "--use_cpu"])
    )
    data = next(part for part in made if hasattr(part, "test_split_size"))
    assert (FOLDER / data.datasets[0].data_files).is_file()


def read_litgpt() -> None:
    """LitGPT's JSON data module, and its command line's configurations."""
    from litgpt.data import JSON
    from litgpt.data.json_data import load_split

    name = f"litgpt {version('litgpt')}"
    for form in ("alpaca", "jsonl"):
        check(f"{name}, load_split", form, lambda form=form: three(load_split(FOLDER / NAMES[form])))

        def read(form: str = form) -> list[Row]:
            train, test = JSON(FOLDER / NAMES[form], val_split_fraction=0.05).get_splits()
            assert len(test)
            places = [*train.indices, *test.indices]
            rows = dict(zip(places, [*train, *test], strict=True))
            return three(rows[n] for n in range(len(rows)))

        check(f"{name}, JSON.get_splits", form, read)
        for file in sorted((FOLDER / f"{NAMES[form]}.trainers").glob("litgpt-*.yaml")):
            parsed(name, f"{form}: {file.name}", lambda file=file: _litgpt_config(file))


def _litgpt_config(file: Path) -> None:
    from jsonargparse import capture_parser
    from litgpt.finetune.lora import setup
    from litgpt.utils import CLI

    parser = capture_parser(lambda: CLI(setup))
    config = parser.instantiate_classes(parser.parse_args(["--config", str(file)]))
    assert config.data.json_path.is_file()
    assert config.train.epochs == 3


def read_axolotl() -> None:
    """Axolotl's schema of its configurations."""
    import yaml
    from axolotl.utils.schemas.config import AxolotlInputConfig

    for form in ("alpaca", "jsonl", "parquet", "messages", "sharegpt", "dpo"):
        for file in sorted((FOLDER / f"{NAMES[form]}.trainers").glob("axolotl-*.yaml")):

            def parse(file: Path = file) -> None:
                given = yaml.safe_load(file.read_text(encoding="utf-8"))
                config = AxolotlInputConfig(**given)
                assert not config.model_extra
                assert (FOLDER / given["datasets"][0]["path"]).is_file()

            parsed(f"axolotl {version('axolotl')}", f"{form}: {file.name}", parse)


def read_argilla() -> None:
    """Argilla's own class of records."""
    import argilla

    def read() -> list[Row]:
        records = [
            argilla.Record.from_dict(row)
            for row in json.loads((FOLDER / NAMES["argilla"]).read_text(encoding="utf-8"))
        ]
        for record in records:
            assert record.to_dict()["fields"] == dict(record.fields)
            assert {model.question_name for model in record.suggestions.api_models()} >= {"output"}

        def output(record: Any) -> str:
            typed = record.responses["output"]
            return str(typed[0].value if typed else record.suggestions["output"].value)

        return [(record.fields["instruction"], record.fields["input"], output(record)) for record in records]

    check(f"argilla {version('argilla')}, Record.from_dict", "argilla", read)


def read_llama_factory() -> None:
    """LLaMA-Factory's datasets, converters and arguments."""
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams.parser import _parse_train_args
    from omegaconf import OmegaConf

    name = f"llamafactory {version('llamafactory')}"
    for form in ("alpaca", "jsonl", "parquet", "messages", "sharegpt"):
        folder = f"{NAMES[form]}.trainers"

        def read(form: str = form, folder: str = folder) -> list[Row]:
            (about,) = get_dataset_list(["pairsmith"], folder)
            file = os.path.relpath(FOLDER / folder / about.dataset_name, FOLDER)
            convert = get_dataset_converter(about.formatting, about, None)
            rows = [convert(row) for row in loaded("parquet" if form == "parquet" else "json", file)]
            asked = [tuple(turn["content"] for turn in (*row["_prompt"], *row["_response"])) for row in rows]
            if form in CHATS:
                return asked
            # It joins instruction and input with one line feed.
            assert asked == [("\n".join(filter(None, (q, i))), a) for q, i, a in expected(form)]
            return expected(form)

        check(f"{name}, converter", form, read)
        for file in sorted((FOLDER / folder).glob("llama-factory-*.yaml")):
            parsed(
                name,
                f"{form}: {file.name}",
                lambda file=file: _parse_train_args(
                    {**OmegaConf.to_container(OmegaConf.load(file)), "use_cpu": True}
                ),
            )


def main() -> None:
    """Run the checks of one environment, in the folder of the exports."""
    os.chdir(FOLDER)
    if sys.argv[2] == "llama-factory":
        read_llama_factory()
        return
    for part in (read_tables, read_trl, read_litgpt, read_axolotl, read_argilla):
        part()


if __name__ == "__main__":
    main()
