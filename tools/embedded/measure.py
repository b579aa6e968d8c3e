"""Measure the embedded model as it ships: the GGUF, through our own llama.cpp engine, on what training never saw.

    python -m tools.embedded.measure GGUF --to FOLDER [--cases 600] [--lists 100] [--judged 920] [--quota 200]
                                          [--starts 3] [--pairs 200] [--seed 11] [--small]

Writes `measured.json` and `measured.md` into the folder and prints the table. Held out are one phrasing in ten of each
intent, all names in the instructions, wordings of domain and topics, and whole kinds of flaws (`prepared.py`,
`slots.py`, `corruptions.py`). A count of 0 leaves that part out.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairsmith.backends.llama_cpp.fingerprint import sha256_of
from pairsmith.backends.registry import Settings, Spec, open_backend

from . import measured_product
from .check import refused_phrasings
from .measured_answers import measure_lists, measure_responses
from .measured_judge import measure_judge
from .prepared import shipped
from .table import table

COUNTS = {"cases": 600, "lists": 400, "judged": 920, "quota": 200, "starts": 3, "pairs": 200}
SMALL = {"cases": 60, "lists": 10, "judged": 60, "quota": 0, "starts": 0, "pairs": 0}


def measure_grammar() -> dict[str, Any]:
    """How rich the grammar is: phrasings that survive the product's near-duplicate rule against each other."""
    intents = [ready.intent for ready in shipped().intents]
    count, refused = refused_phrasings(intents)
    return {
        "topics": len(shipped().topics),
        "intents": len(intents),
        "phrasings": count,
        "surviving": count - len(refused),
    }


async def measure_model(gguf: Path, counts: dict[str, int], seed: int) -> dict[str, Any]:
    """What is asked of the engine directly."""
    backend = open_backend(Spec("llama-cpp", str(gguf)), Settings())
    try:
        found: dict[str, Any] = {}
        if counts["cases"]:
            found["responses"] = await measure_responses(backend, counts["cases"], seed)
        if counts["lists"]:
            found["lists"] = await measure_lists(backend, counts["lists"], seed)
        if counts["judged"]:
            found["judge"] = await measure_judge(backend, counts["judged"], seed)
        return found
    finally:
        await backend.close()


def measure(gguf: Path, counts: dict[str, int], seed: int) -> dict[str, Any]:
    """All figures of one GGUF."""
    started = time.monotonic()
    found: dict[str, Any] = {
        "bytes": gguf.stat().st_size,
        "sha256": sha256_of(gguf),
        "seed": seed,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "grammar": measure_grammar(),
        **asyncio.run(measure_model(gguf, counts, seed)),
    }
    if counts["quota"]:
        found["quota"] = measured_product.measure_quota(gguf, counts["quota"], seed)
    if counts["starts"]:
        found["first_pair"] = measured_product.measure_first_pair(gguf, counts["starts"])
    if counts["pairs"]:
        found["end_to_end"] = measured_product.measure_end_to_end(gguf, counts["pairs"])
    found["minutes"] = round((time.monotonic() - started) / 60, 1)
    return found


def machine() -> str:
    """The processor and how much of it there is."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.measure", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--to", type=Path, metavar="FOLDER")
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"default: {count}")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--small", action="store_true", help="a quick look: few cases, and the model alone")
    chosen = parser.parse_args(arguments)
    usual = SMALL if chosen.small else COUNTS
    counts = {name: usual[name] if (n := getattr(chosen, name)) is None else n for name in COUNTS}
    found = measure(chosen.gguf, counts, chosen.seed)
    shown = table(found)
    if chosen.to is not None:
        chosen.to.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=1, ensure_ascii=False)
        (chosen.to / "measured.json").write_text(text + "\n", encoding="utf-8")
        (chosen.to / "measured.md").write_text(shown, encoding="utf-8")
    print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
