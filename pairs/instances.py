"""Instances of a task: reading inputs and outputs from what a model wrote, and the filters they must pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .normalise import normal_form

EMPTY = "empty output"
EQUAL = "input equals output"
COLON = "ends with a colon"
CONTRADICTION = "same input, different outputs"
REPEATED = "repeated instance"

_MARK = re.compile(
    r"^[ \t>]*(?:\d{1,3}[.)][ \t]+)?[*_#]{0,4}[ \t]*(?:"
    r"(?P<input>input|输入|輸入)|(?P<output>output|输出|輸出)|(?P<answer>answer|答案)|"
    r"(?P<label>class label|label|类别|類別|标签|標籤)|"
    r"(?P<example>example|instance|示例|例)(?=[ \t]*\d|[ \t]*[*_]*[:：.]?[*_]*[ \t]*$)"
    r")[ \t]*\d{0,3}[ \t]*[*_]*[ \t]*(?:[:：.)][ \t]*[*_]*|$)",
    re.IGNORECASE | re.MULTILINE,
)
_ROLES = {"label": "output", "answer": "output", "own input": "input"}
_BLOCK = re.compile(r"^[ \t]*```.*?(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_NONE = re.compile(
    r"[<(\[]?(?:no ?input(?: (?:is )?(?:needed|required|necessary))?|none|n/?a|not applicable|empty|-|"
    r"无|無|没有|沒有|不需要)[>)\]]?[.。]?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Instance:
    """One input, empty where the task needs none, and its output."""

    input: str
    output: str


NOTHING = Instance("", "")


def read_instances(text: str, *, cut: bool = False) -> list[Instance]:
    """The instances in a model's text, in its order, empty ones too. `cut`: the last one is unfinished and left out.

    Known marks at the beginnings of lines (Input, Output, Class label, Example 2; in Chinese too) divide it; where
    there is none the whole is an output. A label stands before its input, an output behind it.
    """
    marks = _marks(text)
    if not marks:
        return [] if cut or not text.strip() else [Instance("", text.strip())]
    found: list[Instance] = []
    parts = _parts(text, marks)
    for kinds in _groups(parts):
        given = kinds.get("input", "")
        found.append(Instance("" if _NONE.fullmatch(given) else given, kinds.get("output", "")))
    return found[:-1] if cut else found


def _marks(text: str) -> list[tuple[str, int, int]]:
    """(kind, start, end) of the marks that divide a text. One in a code block is code; "Answer:" divides only where
    there is no "Output:"; "Example 2" only before another mark, or before an input that has none of its own."""
    blocks = [match.span() for match in _BLOCK.finditer(text)]
    found = [
        (match.lastgroup or "", match.start(), match.end())
        for match in _MARK.finditer(text)
        if not any(start < match.start() < end for start, end in blocks)
    ]
    kinds = {kind for kind, _, _ in found}
    if kinds & {"output", "label"}:
        found = [mark for mark in found if mark[0] != "answer"]
    marks = []
    ahead = [*found[1:], ("", len(text), len(text))][: len(found)]
    for (kind, start, end), following in zip(found, ahead, strict=True):
        if kind == "example" and text[end : following[1]].strip():
            if following[0] != "output":
                continue
            kind = "own input"
        marks.append((kind, start, end))
    return marks if any(kind != "example" for kind, _, _ in marks) else []


def _parts(text: str, marks: Sequence[tuple[str, int, int]]) -> list[tuple[str, str]]:
    """(kind, text) from mark to mark."""
    ends = [*(start for _, start, _ in marks[1:]), len(text)]
    return [(kind, text[begin:end].strip()) for (kind, _, begin), end in zip(marks, ends, strict=True)]


def _groups(parts: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Parts that belong together: a kind that comes again, or an example's number, opens the next instance."""
    groups: list[dict[str, str]] = []
    for kind, text in parts:
        role = _ROLES.get(kind, kind)
        if kind in ("example", "own input") or not groups or role in groups[-1]:
            groups.append({})
        if kind != "example":
            groups[-1][role] = text
    return [group for group in groups if group]


def filter_instances(instances: Sequence[Instance]) -> tuple[list[Instance], dict[str, int]]:
    """Those that pass the paper's filters, and how many each filter dropped.

    Dropped are: an empty output, an input that equals the output, an input or output that ends with a colon, all of
    them where one input that is not empty has two different outputs, and repetitions.
    """
    dropped: Counter[str] = Counter()
    passed: list[Instance] = []
    for instance in instances:
        why = _fault(instance)
        if why is None:
            passed.append(instance)
        else:
            dropped[why] += 1
    outputs: dict[str, str] = {}
    for instance in passed:
        given, said = normal_form(instance.input), normal_form(instance.output)
        if given and outputs.setdefault(given, said) != said:
            dropped[CONTRADICTION] += len(passed)
            return [], dict(dropped)
    seen: set[tuple[str, str]] = set()
    unique = []
    for instance in passed:
        key = normal_form(instance.input), normal_form(instance.output)
        if key in seen:
            dropped[REPEATED] += 1
        else:
            seen.add(key)
            unique.append(instance)
    return unique, dict(dropped)


def _fault(instance: Instance) -> str | None:
    given, said = instance.input.strip(), instance.output.strip()
    if not said:
        return EMPTY
    if normal_form(given) == normal_form(said):
        return EQUAL
    if given.endswith((":", "：")) or said.endswith((":", "：")):
        return COLON
    return None
