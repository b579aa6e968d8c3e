"""The report of an evaluation: the child's Markdown and picture of the losses, and what judges said."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .store.errors import from_os
from .store.publish import temporary_name
from .training_child import run_verb


async def write_report(folder: Path, result: Mapping[str, Any]) -> list[str]:
    """Publish `report.md` (and `losses.svg`) in the run's folder; the paths. Raises PairsmithError."""
    done = await run_verb(["report", folder])
    files = [str(path) for path in done.get("files") or ()]
    more = markdown(result)
    if more:
        await asyncio.to_thread(_append, folder / "report.md", more)
    return files


def _append(path: Path, text: str) -> None:
    temporary = temporary_name(path)
    try:
        whole = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + text
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise from_os(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def markdown(result: Mapping[str, Any]) -> str:
    """The sections that need a judge or people's ratings; empty where there are none."""
    lines: list[str] = []
    if "judge" in result:
        lines += _scores(result["judge"])
    if "pairwise" in result:
        lines += _pairwise(result["pairwise"])
    if result.get("human"):
        lines += _human(result["human"])
    if "table" in result:
        lines += _table(result["table"])
    return "\n".join(lines)


def _scores(judge: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Judged against the reference answers, 0 to 100",
        "",
        f"Judge: `{_code(judge['judge'])}`, prompt: {judge['prompt']}. Intervals are 95 %.",
        "",
        "| answers of | mean | interval | scored | failed | unreadable answers |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in judge["subjects"].items():
        lines.append(
            f"| {_code(name)} | {_number(found['mean'])} | {_number(found['low'])} to {_number(found['high'])} |"
            f" {found['scored']} of {found['n']} | {found['failed']} | {found['unreadable_answers']} |"
        )
    lines.append("")
    for name, found in judge["subjects"].items():
        lines += [f"- {_code(name)}: not scored: {_code(one['reason'])}" for one in found["failures"]]
    if judge["paired"]:
        lines += ["", "| tuned against | difference | interval | n | p |", "|---|---|---|---|---|"]
        for name, found in judge["paired"].items():
            difference = found["difference"]
            lines.append(
                f"| {_code(name)} | {_number(difference['mean'])} |"
                f" {_number(difference['low'])} to {_number(difference['high'])} | {difference['n']} |"
                f" {found['p']:.4f} |"
            )
    return [*lines, ""]


def _pairwise(found: Mapping[str, Any]) -> list[str]:
    rate = found["win_rate"]
    lines = [
        f"## {_code(found['subject'])} against {_code(found['against'])}",
        "",
        f"Judge: `{_code(found['judge'])}`, asked in both orders; where the orders disagree it is a tie.",
        "",
        "| wins | ties | losses | win rate | interval | p | order decided | failed | unreadable answers |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| {found['wins']} | {found['ties']} | {found['losses']} | {_number(rate['mean'])} |"
        f" {_number(rate['low'])} to {_number(rate['high'])} | {_number(found['p'])} | {found['inconsistent']} |"
        f" {found['failed']} of {found['n']} | {found['unreadable_answers']} |",
    ]
    return [*lines, ""]


def _human(human: Mapping[str, Any]) -> list[str]:
    lines = ["## Rated by people, blind", ""]
    lines += ["Nobody saw whose answer it was; places and order were drawn. Intervals are 95 %.", ""]
    for found in human.get("compare", ()):
        lines += [
            f"### {_code(found['subject'])} against {_code(found['against'])}",
            "",
            f"{found['items']} test pairs, {found['same']} of them answered alike and not asked."
            " A tie is half a win; skipped ones are not averaged.",
            "",
            "| rater | wins | ties | losses | skipped | win rate | interval | n | p | left preferred |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_rater_row(name, one) for name, one in _raters(found)]
        lines.append("")
    if "scale" in human:
        lines += ["### From 1 to 5", "", "| answers of | rater | mean | interval | n | skipped |"]
        lines.append("|---|---|---|---|---|---|")
        lines += [
            f"| {_code(found['subject'])} | {_code(name)} | {_number(one['mean'])} |"
            f" {_number(one['low'])} to {_number(one['high'])} | {one['n']} | {one['skipped']} |"
            for found in human["scale"]
            for name, one in _raters(found)
        ]
        lines.append("")
    for found in human.get("paired", ()):
        difference = found["difference"]
        lines.append(
            f"{_code(found['subject'])} less {_code(found['against'])}: {_number(difference['mean'])}"
            f" ({_number(difference['low'])} to {_number(difference['high'])}), n {difference['n']},"
            f" p = {found['p']:.4f}."
        )
    return [*lines, ""]


def _raters(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    raters = list(found["raters"].items())
    return raters + ([("all, by pair", found["together"])] if len(raters) > 1 else [])


def _rater_row(name: str, one: Mapping[str, Any]) -> str:
    rate = one["win_rate"]
    return (
        f"| {_code(name)} | {one['wins']} | {one['ties']} | {one['losses']} | {one['skipped']} |"
        f" {_number(rate['mean'])} | {_number(rate['low'])} to {_number(rate['high'])} | {rate['n']} |"
        f" {_number(one['p'])} | {one['left']} of {one['wins'] + one['losses']} |"
    )


def _table(rows: list[Mapping[str, Any]]) -> list[str]:
    judged = [row for row in rows if row.get("figure") == "judge score"]
    return [
        f"Judge score of the reference text: {_number(row['published'])}, ours {_number(row['ours'])},"
        f" difference {_number(row['difference'])}."
        for row in judged
    ] + [""]


def _code(text: object) -> str:
    return one_line(str(text), 200).replace("`", "'").replace("|", "\\|").replace("<", "&lt;")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
