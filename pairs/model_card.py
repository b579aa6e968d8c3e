"""The card of a tuned model for the Hub: what it was made of and what was measured, nothing that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pairsmith.backends.text import visible

from .errors import UsageError
from .export_formats import json_text
from .hub_names import check_repo
from .store.driver import sqlite3
from .store.meta import get_meta
from .store.runs import Run, list_runs
from .training_runs import base_of, config_of

_BASES = {
    "gpt2-small": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
}
_FIGURES = (
    ("parameters", "parameters"),
    ("examples", "training pairs"),
    ("epochs", "epochs"),
    ("step", "optimiser steps"),
    ("tokens_seen", "tokens seen"),
    ("train_loss", "training loss (per token, natural logarithm)"),
    ("validation_loss", "validation loss"),
    ("precision", "precision"),
    ("minutes", "minutes"),
)
_SETTINGS = (
    *("learning_rate", "weight_decay", "batch_size", "accumulate", "schedule", "warmup_steps", "max_length"),
    *("prompt_style", "mask_instructions", "lora_rank", "seed", "parity"),
)
_LIMITS = """\
- A small model that was tuned on few pairs repeats them and is wrong about much else.
- It learned from texts that models or people wrote; it carries their errors and biases.
- Nothing of it was tested for safety.
"""


def write_model_card(
    conn: sqlite3.Connection, run: Run, repo: str, files: Sequence[str], licence: str = ""
) -> str:
    """The card as Markdown with YAML front matter. `files`: the names that lie beside it; `licence`: its identifier,
    empty where none is stated."""
    title = " ".join((get_meta(conn, "domain") or repo).split())[:200]
    base = public_base(base_of(run))
    style = str(config_of(run).get("prompt_style", "alpaca"))
    said = f"`{licence}`" if licence else "Not stated"
    parts = [
        _front_matter(title, get_meta(conn, "language") or "en", base, licence),
        f"# {_plain(title)}\n\nA GPT-2, made with Pairsmith, from {_base_said(base_of(run))}.\n",
        f"Instructions are put to it in the *{_plain(style)}* style that it was trained in.\n",
        _use(repo, files),
        _table("Training", _figures(run)),
        _table("Settings", [(name, config_of(run)[name]) for name in _SETTINGS if name in config_of(run)]),
        _evaluation(conn, run),
        f"## Licence\n\n{said}. The terms of the base model and of the training texts apply.\n",
        f"## Known limits\n\n{_LIMITS}",
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(title: str, language: str, base: str | None, licence: str) -> str:
    code = {"english": "en", "chinese": "zh"}.get(language.lower(), language)
    lines = ["---"]
    if code.isascii() and code.isalpha() and 2 <= len(code) <= 3:
        lines.append(f"language:\n- {json_text(code)}")
    lines += [
        f"license: {json_text(licence) if licence else 'unknown'}",
        "library_name: transformers",
        "pipeline_tag: text-generation",
    ]
    if base is not None:
        lines.append(f"base_model: {base}")
    lines.append("tags:\n- gpt2\n- instruction-tuning\n- pairsmith")
    return "\n".join([*lines, "---", ""])


def public_base(base: str) -> str | None:
    """The base's name on the Hub; None for a local path, which is nobody's business, and for random weights."""
    if base in _BASES:
        return _BASES[base]
    try:
        return check_repo(base)
    except UsageError:
        return None


def _base_said(base: str) -> str:
    if base.startswith("scratch:"):
        return f"random weights ({_plain(base.removeprefix('scratch:'))})"
    if base == "embedded":
        return "the model that ships with Pairsmith"
    known = public_base(base)
    return f"`{known}`" if known else "a model of its maker's own"


def _use(repo: str, files: Sequence[str]) -> str:
    lines = ["## Use", "", "```python", "from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    lines += [f'model = AutoModelForCausalLM.from_pretrained("{repo}")', ""]
    lines[-1:] = [f'tokenizer = AutoTokenizer.from_pretrained("{repo}")', "```", ""]
    weights = next((name for name in files if name.endswith(".gguf")), None)
    if weights is not None:
        lines += [f"`{weights}` holds the same weights for llama.cpp and Ollama, with the chat template.", ""]
    return "\n".join(lines)


def _figures(run: Run) -> list[tuple[str, Any]]:
    result = dict(run.result or {})
    if isinstance(result.get("examples"), dict):
        result["examples"] = result["examples"].get("train")
    return [(said, result[name]) for name, said in _FIGURES if result.get(name) is not None]


def _evaluation(conn: sqlite3.Connection, run: Run) -> str:
    """The newest finished evaluation of the run, every figure with its interval and n."""
    for found in list_runs(conn, "evaluate"):
        if found.settings.get("train_run") == run.uid and found.state == "done" and found.result:
            lines = ["## Evaluation on the test pairs", ""]
            lines += ["| model | measure | value | 95 % interval | n |", "|---|---|---:|---|---:|"]
            for name, report in (found.result.get("subjects") or {}).items():
                said = name if name in ("base", "tuned") else "another model"
                lines += [f"| {said} | {row}" for row in _rows(report.get("metrics") or {})]
            return "\n".join([*lines, ""]) if len(lines) > 4 else ""
    return ""


def _rows(metrics: Mapping[str, Any]) -> list[str]:
    rows = []
    for measure, value in metrics.items():
        if isinstance(value, dict) and isinstance(value.get("value"), (int, float)):
            low, high = value.get("low"), value.get("high")
            between = f"{_shown(low)} to {_shown(high)}" if low is not None else ""
            rows.append(
                f"{_plain(measure)} | {_shown(value['value'])} | {between} | {_shown(value.get('n'))} |"
            )
    return rows


def _table(title: str, rows: Sequence[tuple[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [f"## {title}", "", "| | |", "|---|---:|"]
    lines += [f"| {_plain(name)} | {_plain(_shown(value))} |" for name, value in rows]
    return "\n".join([*lines, ""])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(text: str) -> str:
    shown = visible(" ".join(text.split()), 300)
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|!&~" else char for char in shown)
