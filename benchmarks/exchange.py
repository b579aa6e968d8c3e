"""Export, verify and import at scale: seconds, and the peak of memory of a process of its own for each.

    python benchmarks/exchange.py [--pairs 1000000] [--workspace FILE] [--formats jsonl,parquet] [--append]

Without --workspace one is made in a scratch folder. --append adds the figures to benchmarks/RESULTS.md. Fails where an
export takes more than 300 MB of memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.workspace import create_workspace

MOST_MB = 300
CHILD = """
import json, resource, sys, time
from pathlib import Path
verb, workspace, path, format = sys.argv[1:]
from pairsmith.pairs.exporting import ExportSettings, export_pairs
from pairsmith.pairs.importing import import_file
from pairsmith.pairs.store.workspace import open_workspace
from pairsmith.pairs.verify_export import verify_export
heard = []
start = time.perf_counter()
if verb == "export":
    with open_workspace(Path(workspace), readonly=True) as opened:
        settings = ExportSettings(format, "any")
        rows = export_pairs(opened, Path(path), settings, progress=lambda done, total: heard.append(done)).pairs
elif verb == "verify":
    found = verify_export(Path(path), progress=lambda done, total: heard.append(done))
    assert not found.problems
    rows = found.rows
took = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
print(json.dumps({"rows": rows, "seconds": took, "mb": peak, "heard": len(heard)}))
"""


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--workspace", type=Path, help="an existing workspace to read")
    parser.add_argument("--formats", default="jsonl,parquet")
    parser.add_argument("--append", action="store_true")
    options = parser.parse_args()
    lines, worst = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        workspace = options.workspace or make(Path(folder) / "big.pairsmith", options.pairs)
        for name in options.formats.split(","):
            out = Path(folder) / f"out.{name}"
            for verb in ("export", "verify"):
                found = measured(verb, workspace, out, name)
                lines.append(
                    f"{verb} {name}: {found['rows']:,} rows, {found['seconds']:.1f} s, peak {found['mb']:.0f} MB,"
                    f" progress told {found['heard']:,} times"
                )
                print(lines[-1], flush=True)
                worst = max(worst, found["mb"])
    report = "\n".join(
        [
            f"\n## Exchange ({time.strftime('%Y-%m-%d')})\n",
            f"Python {platform.python_version()}, {platform.machine()}; other work on the machine.\n",
            *(f"- {line}" for line in lines),
            "",
        ]
    )
    if options.append:
        with (Path(__file__).parent / "RESULTS.md").open("a", encoding="utf-8") as file:
            file.write(report)
    sys.exit(f"more than {MOST_MB} MB" if worst > MOST_MB else 0)


def measured(verb: str, workspace: Path, out: Path, name: str) -> dict[str, float]:
    """One export or verification in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, verb, str(workspace), str(out), name],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def make(path: Path, pairs: int) -> Path:
    """A workspace of that many pairs, with topics and scores as imported ones have them."""
    draw = random.Random(0)
    words = [f"word{n}" for n in range(5000)]

    def rows() -> Iterator[ImportRow]:
        for n in range(pairs):
            text = " ".join(draw.choices(words, k=60))
            yield ImportRow(f"Question {n}: {text[:120]}", text, topic=(f"Topic {n % 20}",))

    with create_workspace(path, domain="benchmark", recipe_toml="", language="en") as workspace:
        workspace.write(lambda conn: import_pairs(conn, rows(), BatchInfo("benchmark", "benchmark")))
    return path


if __name__ == "__main__":
    main()
