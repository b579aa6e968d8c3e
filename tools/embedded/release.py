"""Everything from a finished run to what ships, in one command.

    python -m tools.embedded.release FOLDER [--measured] [options of tools.embedded.measure]

Copies FOLDER/embedded.gguf to assets/, measures it, and writes its card and its training report. `--measured`: with the
`measured.json` that is in FOLDER already. Exit code 1 where a figure is not what was wanted: all is written even so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pairsmith.training import atomic

from . import card, measure, report
from .publish import FILE, LARGEST
from .table import missed

ASSET = report.ROOT / "assets" / FILE


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.release", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--measured", action="store_true")
    chosen, rest = parser.parse_known_args(arguments)
    made = chosen.folder / FILE
    size = made.stat().st_size
    if size > LARGEST:
        print(f"{made} has {size:,} bytes, at most {LARGEST:,} may ship", file=sys.stderr)
        return 1
    with atomic.file(ASSET) as partial:
        shutil.copyfile(made, partial)
    if not chosen.measured:
        measure.main([str(ASSET), "--to", str(chosen.folder), *rest])
    found = json.loads((chosen.folder / "measured.json").read_text(encoding="utf-8"))
    for path in (ASSET, card.write(chosen.folder, card.PLACE), *report.write(chosen.folder, report.PLACE)):
        print(path)
    for one in missed(found):
        print(f"missed: {one}")
    return 1 if missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
