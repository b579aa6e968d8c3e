"""Other programs read our exports: datasets, pandas, pyarrow, TRL, LitGPT, LLaMA-Factory, Axolotl's schema, Argilla's
records, in environments of their own, row by row against the workspace; each trainer's configuration by its own parser.

    python benchmarks/foreign_loaders.py [--environments FOLDER] [--append]

Makes two virtual environments (FOLDER keeps them for the next time) with the newest packages; torch, which all want and
none needs for this, is linked from the environment that runs this. About 1.5 GB and ten minutes. --append adds the
outcome to benchmarks/RESULTS.md. Fails where any reader reads anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pairsmith.pairs.export_formats import FORMATS, asked
from pairsmith.pairs.export_rows import pairs_of, preferences_of
from pairsmith.pairs.exporting import ExportSettings, export_pairs
from pairsmith.pairs.store.edits import edit_pair
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.paging import page
from pairsmith.pairs.store.workspace import Workspace, create_workspace
from pairsmith.pairs.trainer_configs import ALL, check_trainers, write_trainers

ENVIRONMENTS = {
    # Axolotl and LLaMA-Factory would bring gigabytes of what their parsers do not use.
    "readers": (
        (
            "datasets",
            "pandas",
            "pyarrow",
            "trl",
            "peft",
            "argilla",
            "requests",
            "addict",
            "lightning>=2.6.1",
            "jsonargparse[signatures]<=4.41",
        ),
        ("litgpt>=0.5.13", "axolotl"),
    ),
    "llama-factory": (
        (
            "transformers<=5.6.0,!=4.57.0",
            "datasets<=4.0.0",
            "peft==0.18.1",
            "trl<=0.24.0",
            "accelerate<=1.11.0",
            "omegaconf",
            "einops",
            "scipy",
            "sentencepiece",
            "tiktoken",
        ),
        ("llamafactory",),
    ),
}
"""Name -> packages, and packages without what they want besides."""
NASTY = [
    "👨\u200d👩\u200d👧 family", "a\u2028b\u2029c\u0085d", "\x7f \x80 \x9b[31m", "\ufeffmark", "line\r\nline\rline\n",
    "\u202eright to left\u202c", "e\u0301 and \u00e9", "NA", "007", "2020-01-01", "2020-01-01T00:00:00Z", "null", "nan",
    '"', "\\u0041", "{}", "[1]", "\uffff", "\x0b\x0c\x1b[2J", "=1+1", "命令", "'", "a,b;c\td", " leading and trailing ",
    "<|im_end|>", "<end_of_turn>", "{{ 7*7 }}", "NUL \x00 here", "lone \ud800 surrogate", "true", "1e5", "-0", "\u00a0",
]  # fmt: skip


def main() -> None:
    """Export, read, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, help="keep the environments here")
    parser.add_argument("--append", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "exports"
        folder.mkdir()
        rows = make_exports(folder)
        found: list[dict[str, Any]] = []
        for name in ENVIRONMENTS:
            python = environment((options.environments or Path(scratch)) / name, name)
            found += read(python, folder, name)
    lines = [
        f"- {one['reader']}: {one['format']}: "
        + (
            ("read" if one["rows"] is None else f"{one['rows']:,} rows equal")
            if one["ok"]
            else f"NO: {one['why']}"
        )
        for one in found
    ]
    print("\n".join(lines))
    report = "\n".join(
        [
            f"\n## Foreign loaders ({time.strftime('%Y-%m-%d')})\n",
            f"`python benchmarks/foreign_loaders.py`; Python {platform.python_version()}; {rows:,} pairs of nasty "
            "texts, one of 2 MB. A configuration is *read* by the trainer's own parser (TRL's and LLaMA-Factory's with "
            "`use_cpu`, since they refuse bfloat16 where there is no GPU). Axolotl and LLaMA-Factory are installed "
            "without the packages that only training needs (torchaudio is an empty module).\n",
            *lines,
            "",
        ]
    )
    if options.append:
        with (Path(__file__).parent / "RESULTS.md").open("a", encoding="utf-8") as file:
            file.write(report)
    failed = [one for one in found if not one["ok"]]
    sys.exit(f"{len(failed)} of {len(found)} failed" if failed or not found else 0)


def make_exports(folder: Path) -> int:
    """Every format of a nasty workspace, its trainers' configurations, and what they ought to hold."""
    with create_workspace(
        folder.parent / "nasty.pairsmith", domain="d", recipe_toml="", language="en"
    ) as made:
        made.write(lambda conn: import_pairs(conn, nasty_rows(), BatchInfo("nasty", "nasty")))
        (edited, *_) = made.read(lambda conn: page(conn, limit=1))
        made.write(lambda conn: edit_pair(conn, edited.id, output="edited by a person"))
        for name, form in FORMATS.items():
            path = folder / f"{name}{form.suffix}"
            export_pairs(made, path, ExportSettings(name, "any"))
            if name not in ("hf", "csv", "argilla"):
                write_trainers(path, name, check_trainers(path, name, [ALL]))
        told = expected(made)
        (folder / "expected.json").write_text(json.dumps(told), encoding="utf-8")
    return len(told["three"])


def nasty_rows() -> list[ImportRow]:
    """Texts at every place, preferences, and columns of which every cell looks like a date."""
    rows = [
        ImportRow(f"{n} {text}", text, text, topic=("a|b",), scores={"j": {"x": n / 3}})
        for n, text in enumerate(NASTY)
    ]
    rows += [ImportRow(text, f"{n}") for n, text in enumerate(NASTY) if text.strip()]
    rows += [ImportRow(f"chosen {text}", f"good {text}", verdict="accepted", note=text) for text in NASTY]
    rows += [ImportRow(f"chosen {text}", f"bad {text}", verdict="rejected", tags=(text,)) for text in NASTY]
    return [*rows, ImportRow("long", "ab\u2028c " * 400_000)]


def expected(made: Workspace) -> dict[str, list[Any]]:
    """The rows of the workspace as columns, as turns, and as preferences."""

    def look(conn: Any) -> dict[str, list[Any]]:
        ids = [pair.id for pair in page(conn, limit=100_000)[::-1]]
        pairs = list(pairs_of(conn, ids))
        return {
            "three": [(pair.instruction, pair.input, pair.output) for pair in pairs],
            "asked": [(asked(pair), pair.output) for pair in pairs],
            "dpo": [(asked(pair), pair.output, pair.rejected) for pair in preferences_of(conn, ids)],
        }

    return made.read(look)


def environment(folder: Path, name: str) -> Path:
    """The Python of a virtual environment with these packages, made where it is not there yet."""
    python = folder / "bin" / "python"
    done, wanted = folder / "complete", repr(ENVIRONMENTS[name])
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    import torch

    source = Path(torch.__file__).parent.parent
    for linked in (
        *source.glob("torch"),
        *source.glob("torchgen"),
        *source.glob("functorch"),
        *source.glob("torch-*"),
    ):
        (site / linked.name).symlink_to(linked)
    packages, bare = ENVIRONMENTS[name]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, f"torch=={torch.__version__}", *packages], check=True)
    subprocess.run([*install, "--no-deps", *bare], check=True)
    if name == "llama-factory":
        (site / "torchaudio").mkdir()
        (site / "torchaudio" / "__init__.py").write_text("", encoding="utf-8")
    done.write_text(wanted, encoding="utf-8")
    return python


def read(python: Path, folder: Path, name: str) -> list[dict[str, Any]]:
    """What one environment's readers found."""
    done = subprocess.run(
        [str(python), "-P", str(Path(__file__).with_name("foreign_readers.py")), str(folder), name],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder / "home"),
            "TOKENIZERS_PARALLELISM": "false",
        },
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"reader"')]
    if done.returncode:
        found.append(
            {"reader": name, "format": "all", "rows": 0, "ok": False, "why": f"ended with {done.returncode}"}
        )
    return found


if __name__ == "__main__":
    main()
