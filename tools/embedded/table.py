"""The measured figures as Markdown: what was wanted stands beside what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `reached` is None where nothing was wanted."""

    what: str
    found: str
    wanted: str = ""
    reached: bool | None = None


def rows(found: Mapping[str, Any]) -> list[Row]:
    """Every figure that was measured."""
    made = [_least("size in bytes", found["bytes"], 12_000_000, "{:,}", most=True)]
    grammar = found["grammar"]
    made.append(
        _least(
            f"grammar: of its {grammar['phrasings']:,} instructions ({grammar['intents']} intents,"
            f" {grammar['topics']} subtopics) survive ROUGE-L ≤ 0.7 against each other",
            grammar["surviving"],
            1500,
            "{:,}",
        )
    )
    for part in (_lists, _responses, _judge, _quota, _speed):
        made += part(found)
    return made


def _least(what: str, value: float, bound: float, form: str = "{:.1%}", *, most: bool = False) -> Row:
    wanted = f"{'at most' if most else 'at least'} {form.format(bound)}"
    return Row(what, form.format(value), wanted, value <= bound if most else value >= bound)


def _lists(found: Mapping[str, Any]) -> Iterator[Row]:
    for kind, lists in found.get("lists", {}).items():
        yield _least(
            f"lists of {kind}: read, with every line on the domain ({lists['lists']} lists)",
            lists["parsed_and_on_domain"],
            0.95,
        )
        said = f"lists of {kind}: read / lines on the domain / different from each other and from those shown"
        shares = (lists["parsed"], lists["items_on_domain"], lists["items_distinct"])
        yield Row(said, " / ".join(f"{share:.1%}" for share in shares))
    if "instructions" in found.get("lists", {}):
        lists = found["lists"]["instructions"]
        yield Row(
            "lists of instructions: lines on the topic asked for / near a phrasing of the grammar (the others say"
            " something of Git, not always something that makes sense) / lists of such lines alone",
            " / ".join(
                f"{lists[name]:.1%}" for name in ("items_on_topic", "items_as_taught", "lists_as_taught")
            ),
        )


def _responses(found: Mapping[str, Any]) -> Iterator[Row]:
    for split, said in (("held-out", "held-out"), ("train", "trained")):
        if split not in found.get("responses", {}):
            continue
        one = found["responses"][split]
        of = f"{said} phrasings and names, {one['responses']} responses"
        understood = f"commands without a usage error ({of})"
        right = f"the right command with the right names ({of})"
        if split == "held-out":
            yield _least(understood, one["understood"], 0.95)
            yield _least(right, one["right"], 0.85)
        else:
            yield Row(understood, f"{one['understood']:.1%}")
            yield Row(right, f"{one['right']:.1%}")


def _judge(found: Mapping[str, Any]) -> Iterator[Row]:
    if "judge" not in found:
        return
    judge = found["judge"]
    yield _least(
        f"judge: AUC, untouched against flawed responses ({judge['judged']} judged, {judge['unread']} unread)",
        judge["auc"],
        0.92,
        "{:.3f}",
    )
    kinds = ", ".join(judge["held_out_kinds"])
    yield _least(
        f"judge: AUC for kinds of flaws held out of training ({kinds})",
        judge["auc_held_out_kinds"],
        0.92,
        "{:.3f}",
    )


def _quota(found: Mapping[str, Any]) -> Iterator[Row]:
    for run in found.get("quota", []):
        told = f"“{run['domain']}”: "
        yield Row(
            f"{told}unique pairs of {run['asked']} asked for",
            f"{run['unique']}",
            f"exactly {run['asked']}",
            run["kept"] == run["unique"] == run["asked"] and run["exit"] == 0,
        )
        yield _least(f"{told}list calls", run["list_calls"], 40, "{}", most=True)
        yield _least(
            f"{told}responses for each pair kept", run["responses_per_pair"], 1.2, "{:.2f}", most=True
        )


def _speed(found: Mapping[str, Any]) -> Iterator[Row]:
    if "first_pair" in found:
        one = found["first_pair"]
        yield _least(
            f"seconds from the command to the first pair on the screen (median of {len(one['seconds'])})",
            one["median_s"],
            5,
            "{:.1f}",
            most=True,
        )
    if "end_to_end" in found:
        one = found["end_to_end"]
        yield Row(
            f"one sentence → {one['pairs']} judged pairs: pairs per hour, ours / the plain way",
            f"{one['ours']['pairs_per_hour']:,.0f} / {one['plain']['pairs_per_hour']:,.0f}",
        )
        yield _least("the same: times as many", one["ratio"], 3, "{:.1f}")
    if "responses" in found:
        said = found["responses"]["held-out"]["tokens_per_s"]
        yield Row(f"generated tokens per second, many requests at once ({found['machine']})", f"{said:,.0f}")


def table(found: Mapping[str, Any]) -> str:
    """Markdown: the figures, and the judge's by kind of flaw."""
    lines = ["| | measured | wanted | |", "|---|---|---|---|"]
    marks = {True: "reached", False: "**missed**", None: ""}
    lines += [f"| {row.what} | {row.found} | {row.wanted} | {marks[row.reached]} |" for row in rows(found)]
    if "judge" in found:
        held_out = set(found["judge"]["held_out_kinds"])
        lines += ["", "| kind of flaw | AUC against untouched | |", "|---|---|---|"]
        for kind, one in sorted(found["judge"]["by_kind"].items(), key=lambda item: item[1]["auc"]):
            lines.append(f"| {kind} | {one['auc']:.2f} | {'held out' if kind in held_out else ''} |")
    return "\n".join(lines) + "\n"


def missed(found: Mapping[str, Any]) -> list[str]:
    """The figures that are not what was wanted."""
    return [f"{row.what}: {row.found}, {row.wanted}" for row in rows(found) if row.reached is False]
