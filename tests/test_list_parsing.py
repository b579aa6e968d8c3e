"""Every shape in which a model writes a list, and what must never be taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.pairs.list_parsing import parse_list

A = (
    "Explain how to undo the last commit.",
    'Describe what "git stash" does, and when "pop" fails.',
    "List fetch, pull, and push, in that order, with examples.",
)
T = ("Branching", "Merging", "Committing", "Remote repositories", "Resolving conflicts")
ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")

Render = Callable[[Sequence[str]], str]


def each(pattern: str, separator: str = "\n") -> Render:
    """One line for each item; in the pattern, n is its number, x the item, c a letter, r a Roman number."""

    def render(items: Sequence[str]) -> str:
        lines = []
        for i, item in enumerate(items):
            wide = "".join(chr(0xFF10 + int(digit)) for digit in str(i + 1))
            marks = {
                "n": i + 1,
                "w": wide,
                "c": chr(97 + i),
                "C": chr(65 + i),
                "r": ROMAN[i],
                "j": json.dumps(item),
            }
            lines.append(pattern.format(x=item, **marks))
        return separator.join(lines)

    return render


NUMBERED = each("{n}. {x}")
SHAPES: dict[str, Render] = {
    "1.": NUMBERED,
    "1)": each("{n}) {x}"),
    "(1)": each("({n}) {x}"),
    "[1]": each("[{n}] {x}"),
    "1 -": each("{n} - {x}"),
    "1. without a space": each("{n}.{x}"),
    "1:": each("{n}: {x}"),
    "escaped 1\\.": each("{n}\\. {x}"),
    "#1": each("#{n}: {x}"),
    "full-width １．": each("{w}．{x}"),
    "full-width １、": each("{w}、{x}"),
    "circled": lambda items: "\n".join(f"{chr(0x2460 + i)} {x}" for i, x in enumerate(items)),
    "intro and outro": lambda i: (
        f"Sure! Here are {len(i)} instructions:\n\n{NUMBERED(i)}\n\nLet me know if you need more!"
    ),
    "outro without a blank line": lambda i: f"{NUMBERED(i)}\nI hope these help!",
    "blank lines between": each("{n}. {x}", "\n\n"),
    "CRLF": each("{n}. {x}", "\r\n"),
    "indented": each("   {n}. {x}"),
    "continued from 9.": lambda items: "\n".join(f"{i + 9}. {x}" for i, x in enumerate(items)),
    "every number 1": each("1. {x}"),
    "-": each("- {x}"),
    "*": each("* {x}"),
    "•": each("•{x}"),
    "+": each("+ {x}"),
    "check boxes": each("- [ ] {x}"),
    "em dashes": each("— {x}"),
    "bold item": each("{n}. **{x}**"),
    "bold number": each("**{n}.** {x}"),
    "bold line": each("**{n}. {x}**"),
    "curly quotes": each("{n}. “{x}”"),
    "single quotes": each("{n}. '{x}'"),
    "bullet and number": each("- {n}. {x}"),
    "lettered a)": each("{c}) {x}"),
    "lettered (a)": each("({c}) {x}"),
    "lettered A.": each("{C}. {x}"),
    "Roman": each("{r}. {x}"),
    "Instruction 1:": each("Instruction {n}: {x}"),
    "Task 2)": each("Task {n}) {x}"),
    "Question #3:": each("Question #{n}: {x}"),
    "**Instruction 1:**": each("**Instruction {n}:** {x}"),
    "- **Task 1:**": each("- **Task {n}:** {x}"),
    "1. Instruction:": each("{n}. Instruction: {x}"),
    "指令1：": each("指令{n}：{x}"),
    "heading with a label": each("### Task {n}\n{x}\n"),
    "label, input and output": each(
        "Instruction: {x}\nInput: <noinput>\nOutput: An answer.\nIt has two lines.\n"
    ),
    "with answers": each("{n}. {x}\n   Answer: so and so\n   and so on"),
    "heading above numbers": lambda i: f"### Tasks\n{NUMBERED(i)}",
    "heading above bullets": lambda i: "## Tasks\n\n" + each("- {x}")(i),
    "tags": each("<instruction>{x}</instruction>"),
    "plain lines": each("{x}"),
    "plain lines with an intro": lambda i: "Here are the instructions:\n" + "\n".join(i),
    "plain paragraphs": each("{x}", "\n\n"),
    "one line 1. 2.": each("{n}. {x}", " "),
    "one line with an intro": lambda i: "Here are some: " + each("{n}) {x}", " ")(i),
    "one line (1) (2)": each("({n}) {x}", " "),
    "one line a) b)": each("{c}) {x}", " "),
    "one line •": each("• {x}", " "),
    "JSON": json.dumps,
    "JSON, indented": lambda i: json.dumps(i, indent=2),
    "JSON, not ASCII": lambda i: json.dumps(i, ensure_ascii=False),
    "JSON, trailing comma": lambda i: "[" + ", ".join(map(json.dumps, i)) + ",]",
    "JSON object": lambda i: json.dumps({"instructions": i}),
    "JSON objects": lambda i: json.dumps([{"instruction": x, "input": ""} for x in i]),
    "JSON with ids": lambda i: json.dumps(
        {
            "id": 7,
            "meta": {"tags": ["x", "y"]},
            "tasks": [{"id": n, "task": x, "level": "easy"} for n, x in enumerate(i)],
        }
    ),
    "JSON, numbered fields": lambda i: json.dumps({str(n + 1): x for n, x in enumerate(i)}),
    "JSON, labelled fields": lambda i: json.dumps({f"instruction_{n + 1}": x for n, x in enumerate(i)}),
    "JSON, two lists": lambda i: json.dumps({"easy": i[:1], "hard": i[1:]}),
    "JSON, then prose": lambda i: json.dumps(i) + "\n\nYou may use [several] of these.",
    "JSON after =": lambda i: "instructions = " + json.dumps(i),
    "fenced JSON": lambda i: f"Here you go:\n```json\n{json.dumps(i, indent=1)}\n```\nEnjoy!",
    "unclosed fence": lambda i: "```json\n" + json.dumps(i),
    "fenced numbers": lambda i: f"```\n{NUMBERED(i)}\n```",
    "fenced plain lines": lambda i: "```text\n" + "\n".join(i) + "\n```",
    "JSON Lines": each('{{"instruction": {j}}}'),
    "JSON Lines of strings": each("{j}"),
    "numbered JSON": each('{n}. {{"instruction": {j}}}'),
    "JSON Lines with commas": each('{{"instruction": {j}}}', ",\n"),
    "Python list": lambda i: repr(list(i)),
    "Python assignment": lambda i: f"```python\ntasks = {list(i)!r}\n```",
    "smart quotes as JSON": lambda i: "[“" + "”, “".join(i) + "”]",
    "YAML list": lambda i: "instructions:\n" + each("  - {x}")(i),
    "YAML objects": each("- instruction: {x}\n  input: ''\n  level: easy"),
    "table": lambda i: "| # | Instruction |\n|---|---|\n" + each("| {n} | {x} |")(i),
    "table without edges": lambda i: "Instruction | Level\n--- | ---\n" + each("{x} | easy")(i),
    "thinking before": lambda i: f"<think>\n1. x\n2. y\n3. z\n4. q\n</think>\n\n{NUMBERED(i)}",
    "thinking not opened": lambda i: f"First 1. x\n2. y\n</think>\n\n{NUMBERED(i)}",
    "<thinking>": lambda i: f"<thinking>1. x\n2. y</thinking>{NUMBERED(i)}",
    "<reasoning>": lambda i: f"<reasoning>\n- x\n- y\n</reasoning>\n{NUMBERED(i)}",
    "<analysis>": lambda i: f"<analysis>- x</analysis>\n{NUMBERED(i)}",
    "<analysis> not opened": lambda i: f"First 1. x\n2. y\n</analysis>\n\n{NUMBERED(i)}",
    "<seed:think>": lambda i: f"<seed:think>- x</seed:think>{NUMBERED(i)}",
    "gpt-oss channels": lambda i: (
        "<|channel|>analysis<|message|>1. x\n2. y<|end|><|start|>assistant<|channel|>final<|message|>"
        + NUMBERED(i)
    ),
    "answer tags": lambda i: f"<answer>\n{NUMBERED(i)}\n</answer>",
    "groups with headings": lambda i: (
        "Easy:\n" + NUMBERED(i[:1]) + "\n\nHard:\n" + NUMBERED(i).split("\n", 1)[-1]
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_three_instructions_are_read_from_every_shape(shape: str) -> None:
    parsed = parse_list(SHAPES[shape](A), asked=3)
    assert parsed.items == A
    assert parsed.malformed is None


words = st.text(alphabet="abcdefghijklmnopqrstuvwxyzäß", min_size=2, max_size=9)
inner = st.one_of(
    words,
    words,
    words,
    st.sampled_from(["2.5", "x,", '"git', "it's", "(so)", "C++", "1984", "-d", "3/4", "e.g."]),
)
sentences = st.builds(
    lambda verb, rest, last, mark: " ".join([verb, *rest, last]) + mark,
    st.sampled_from(["Explain", "Write", "Why does", "Compare", "Übersetze", "List"]),
    st.lists(inner, min_size=1, max_size=8),
    words,
    st.sampled_from([".", "?", ""]),
)
lists = st.lists(sentences, min_size=2, max_size=12)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(items=lists)
def test_any_list_of_clean_sentences_comes_back_from_every_shape(shape: str, items: list[str]) -> None:
    assert list(parse_list(SHAPES[shape](items), asked=len(items)).items) == items


NAMES: dict[str, Render] = {
    "commas": ", ".join,
    "commas and a full stop": lambda i: ", ".join(i) + ".",
    "and before the last": lambda i: ", ".join(i[:-1]) + ", and " + i[-1],
    "and without a comma": lambda i: ", ".join(i[:-1]) + " and " + i[-1],
    "semicolons": "; ".join,
    "full-width commas": "，".join,
    "ideographic commas": "、".join,
    "intro and commas": lambda i: "Here are the subtopics: " + ", ".join(i),
    "commas over two lines": lambda i: ", ".join(i[:2]) + ",\n" + ", ".join(i[2:]),
    "numbers": NUMBERED,
    "one line": each("{n}. {x}", " "),
    "full stops": each("- {x}."),
    "description after a colon": each("{n}. {x}: how it is done, and why"),
    "bold with a description": each("{n}. **{x}**: how it is done"),
    "bold with a colon inside": each("- **{x}:** how it is done"),
    "description after a dash": each("- {x} - how it is done"),
    "description without marks": each("{x}: how it is done"),
    "plain lines": "\n".join,
    "JSON": json.dumps,
    "JSON objects": lambda i: json.dumps({"topics": [{"name": x, "description": "some, words"} for x in i]}),
    "JSON names as fields": lambda i: json.dumps(dict.fromkeys(i, "how it is done")),
    "table": lambda i: (
        "| No | Topic | Notes |\n|:--|:--:|--|\n" + each("| {n} | {x} | a long description of it |")(i)
    ),
}


@pytest.mark.parametrize("shape", NAMES)
def test_five_topics_are_read_from_every_shape(shape: str) -> None:
    assert parse_list(NAMES[shape](T), asked=5, names=True).items == T


topic_words = st.text(alphabet="bcdfghjklmnpqrstvwxz", min_size=3, max_size=8)
topics = st.lists(topic_words, min_size=1, max_size=4).map(lambda parts: " ".join(parts).capitalize())


@pytest.mark.parametrize("shape", NAMES)
@settings(max_examples=25)
@given(items=st.lists(topics, min_size=3, max_size=10, unique=True))
def test_any_list_of_short_names_comes_back_from_every_shape(shape: str, items: list[str]) -> None:
    assert list(parse_list(NAMES[shape](items), asked=len(items), names=True).items) == items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. Compare these:\n   - A\n   - B\n2. Next one", ["Compare these: A B", "Next one"]),
        ("1. Compare these:\n- A\n- B\n2. Next one", ["Compare these: A B", "Next one"]),
        ("1. Do both:\n   1. this\n   2. that\n2. Next one", ["Do both: this that", "Next one"]),
        (
            "1. Explain how to undo\n   the last commit.\n2. b c",
            ["Explain how to undo the last commit.", "b c"],
        ),
        ("1. Explain how to undo\nthe last commit.\n2. b c", ["Explain how to undo the last commit.", "b c"]),
        (
            "1. Round 3.14159 to 2. decimal places.\n2. What is 2.5 times 4?",
            ["Round 3.14159 to 2. decimal places.", "What is 2.5 times 4?"],
        ),
        ("1. It was in\n1984. Explain why.\n2. b c", ["It was in 1984. Explain why.", "b c"]),
        (
            "1. What is 12:30?\n2. 5-star hotels?\n3. 2.5 times 4?",
            ["What is 12:30?", "5-star hotels?", "2.5 times 4?"],
        ),
        (
            "-1 is what?\n*args means what?\n– said who?\n1984 is which year?",
            ["-1 is what?", "*args means what?", "– said who?", "1984 is which year?"],
        ),
        ("- -1 is what?\n- *args means what?", ["-1 is what?", "*args means what?"]),
        ('1. "Hello" means what?\n2. Say "a" or "b"', ['"Hello" means what?', 'Say "a" or "b"']),
        ('1. "Yes" or "no"\n2. \'Tis so, isn\'t it', ['"Yes" or "no"', "'Tis so, isn't it"]),
        (
            '1. Sort ["pear","fig"] by name.\n2. Given [\'a\',\'b\'], join them.\n3. Parse {"a": "b"}.',
            ['Sort ["pear","fig"] by name.', "Given ['a','b'], join them.", 'Parse {"a": "b"}.'],
        ),
        (
            '1. Fix this:\n```python\nx = ["a", "b"]\ny = 1\n```\n2. Do that.',
            ['Fix this:\n```python\nx = ["a", "b"]\ny = 1\n```', "Do that."],
        ),
        ('["Explain how a heat\npump works.", "b c"]', ["Explain how a heat pump works.", "b c"]),
        ('["Explain the "git" command", "b c"]', ['Explain the "git" command', "b c"]),
        ('["it is \\"so\\"", "caf\\u00e9 \\ud83d\\ude00 \\d"]', ['it is "so"', "café 😀 \\d"]),
        ("['it\\'s a', \"b c\", 'Bob's c']", ["it's a", "b c", "Bob's c"]),
        ('{"instruction": "a b"}\n{"instruction": "c d"}\n{"instruc', ["a b", "c d"]),
        (
            "1. Explain the <think> tag.\n2. Explain </think> too.",
            ["Explain the <think> tag.", "Explain </think> too."],
        ),
        (
            "1. 12\n2. Instruction 2:\n3. Real one here\n4. Another one\n5. ...",
            ["Real one here", "Another one"],
        ),
        ("1. 2 + 2 = ?\n2. What is 5?", ["2 + 2 = ?", "What is 5?"]),
        ("1. A b c\n2. A b c\n3. D e", ["A b c", "A b c", "D e"]),
    ],
)
def test_text_that_looks_like_a_mark_stays_text(text: str, items: list[str]) -> None:
    assert list(parse_list(text, asked=len(items)).items) == items


@pytest.mark.parametrize(
    "text", ['{"topics": ["Only one"]}', '["Only one"]', '\n {"items": ["Only one"]} \n']
)
def test_a_json_list_of_one_is_a_list(text: str) -> None:
    assert parse_list(text, asked=10, names=True).items == ("Only one",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"error": "not today"}', "no list"),
        ("", "empty"),
        (" \n\t\ufeff", "empty"),
        ("<think>\n1. a b\n2. c d", "only thinking"),
        ("<think>1. a b\n2. c d</think>", "only thinking"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("抱歉，我无法提供此类信息。", "refused"),
        ("1. Only one item", "no list"),
        ("Explain fetch, pull, and push.", "no list"),
        ("Prose goes on and on. It is no list.\nReally not, it is not.", "no list"),
        ("Use [several] of these {options}.", "no list"),
        ("[1, 2, 3]", "no list"),
        ("1.\n2.\n3.", "no list"),
        ("{}", "no list"),
        ("🎉", "no list"),
    ],
)
def test_what_is_no_list_gives_nothing_and_says_why(text: str, why: str) -> None:
    parsed = parse_list(text, asked=10)
    assert (parsed.items, parsed.malformed) == ((), why)


@pytest.mark.parametrize(
    "text", ["Explain rebase.", "1. Explain rebase.", '["Explain rebase."]', "- Explain rebase."]
)
def test_one_item_is_a_list_where_one_was_asked_for(text: str) -> None:
    assert parse_list(text, asked=1).items == ("Explain rebase.",)


@pytest.mark.parametrize(
    ("text", "truncated"),
    [
        ('["a b c d.", "e f g h.", "i j', False),
        ('```json\n{"instructions": ["a b c d.", "e f g h.", "i j', True),
        (
            '[{"instruction": "a b c d.", "input": ""}, {"instruction": "e f g h."}, {"instruction": "i j k", "inp',
            True,
        ),
        ("1. a b c d.\n2. e f g h.\n3. i j", True),
        ("- a b c d.\n- e f g h.\n- i", True),
        ("a b c d.\ne f g h.\ni j", True),
        ("| Instruction |\n|---|\n| a b c d. |\n| e f g h. |\n| i j", True),
        ("1. a b c d. 2. e f g h. 3. i j", True),
    ],
)
def test_of_a_list_that_was_cut_the_whole_items_are_kept(text: str, truncated: bool) -> None:
    parsed = parse_list(text, asked=3, truncated=truncated)
    assert (parsed.items, parsed.cut) == (("a b c d.", "e f g h."), 1)


def test_a_list_that_ended_before_the_cut_is_kept_whole() -> None:
    assert parse_list("- a b\n- c d\n\nI hope these he", asked=2, truncated=True).items == ("a b", "c d")
    assert parse_list('["a b", "c d"]\n\nThese ar', asked=2, truncated=True).items == ("a b", "c d")


def test_items_that_the_prompt_showed_are_left_out_and_counted() -> None:
    parsed = parse_list("- A b c\n- D e f\n- G h i", asked=3, echoed=["a  B c", "x"])
    assert (parsed.items, parsed.echoed) == (("D e f", "G h i"), 1)
    parsed = parse_list("- A b c\n- D e f", asked=3, echoed=["a b c", "d e f"])
    assert (parsed.items, parsed.malformed) == ((), "only repeats what was shown")


def test_more_items_than_asked_are_all_kept() -> None:
    assert len(parse_list(NUMBERED(A * 4), asked=3).items) == 12


def test_instructions_are_never_split_at_commas() -> None:
    assert parse_list("Explain fetch, pull, push, merge", asked=4).items == ()
    assert parse_list("Fetch this, pull that\nPush it, merge it", asked=2).items == (
        "Fetch this, pull that",
        "Push it, merge it",
    )


REPEATED = (
    "[", '["', "['", '{"a":', "[[1", '["\\', "[“", "{a:", "1", "1. ", "* ", "**1.**", "a) ", "- [ ] ", "|", "| - ",
    "```\n", "~~~",
    "<think>", "</think>", "<|channel|>final<|message|>", "a, ", "a and ", "a和", '"', "“", "\\", " \n", "#",
    "instruction ", "\n",
    "_", "a: ", "i. ", "x\n\n", "<a>", "１、", "1 - ", "Task 1: ", "- a: b\n", "a | b\n", "Input:\n", "① ", "• ",
)  # fmt: skip
HOSTILE = [
    *(f"x{piece * (60_000 // len(piece))}x" for piece in REPEATED),
    *(piece * (60_000 // len(piece)) for piece in REPEATED),
    "[" * 200_000 + "]" * 200_000,
    "[" + "1" * 5_000 + ', "a b", "c d"]',
    "1. a\n" * 1_700_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:8]))
def test_hostile_text_is_read_without_error_in_bounded_time(text: str) -> None:
    parse_list(text, asked=10)
    parse_list(text, asked=10, names=True, truncated=True)


BITS = [*"[]{}\"':,\\`*-|<>#.)(1a \n“”‘’、①\r\t", "```", "<think>", "</think>", "1. ", "\n- ", "null"]


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(BITS), max_size=60).map("".join),
    ),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
def test_any_text_gives_clean_items_or_a_reason(text: str, asked: int, names: bool, truncated: bool) -> None:
    parsed = parse_list(text, asked=asked, names=names, truncated=truncated)
    assert bool(parsed.items) == (parsed.malformed is None)
    assert all(item and item == item.strip() for item in parsed.items)
