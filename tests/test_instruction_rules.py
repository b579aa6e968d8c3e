"""The rules for instructions, one by one: what each catches, and what it must leave alone."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pairsmith.pairs.instruction_rules import (
    MENDABLE,
    SCRIPTS,
    broken_rule,
    count_words,
    find_keyword,
    speaks_of_input,
    written_in,
)
from pairsmith.pairs.recipes import Rules, load_recipe

PAPER = load_recipe("self-instruct").rules
CODE = load_recipe("self-instruct-code").rules
CHINESE = load_recipe("self-instruct-chinese").rules
PAPER_WORDS = (
    *(
        "image",
        "images",
        "graph",
        "graphs",
        "picture",
        "pictures",
        "file",
        "files",
        "map",
        "maps",
        "draw",
        "plot",
    ),
    *("video", "audio", "music", "flowchart", "diagram"),
)


def rule(text: str, rules: Rules = PAPER, *, inputs: bool = True) -> str | None:
    broken = broken_rule(text, rules, inputs=inputs)
    return None if broken is None else broken[0]


@pytest.mark.parametrize("word", PAPER_WORDS)
def test_each_word_that_a_language_model_cannot_serve_is_caught_in_any_case(word: str) -> None:
    assert rule(f"Please describe the {word.upper()}, in a few words.") == "keyword"


def test_a_keyword_of_two_words_is_caught_across_white_space() -> None:
    assert rule("Now go  to the market and buy bread.") == "keyword"


@pytest.mark.parametrize(
    "text",
    [
        "Profile the imagery of a paragraph by Homer.",
        "Explain how mapping differs from withdrawing.",
        "Compare photographs and telegraphs of the last century.",
        "Tell why a going toddler laughs.",
    ],
)
def test_a_keyword_within_another_word_is_none(text: str) -> None:
    assert rule(text) is None


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Tell a joke.", "too short"),
        ("Tell a good joke.", None),
        ("word " * 150, None),
        ("word " * 151, "too long"),
        ("Write a program to sort numbers.", "banned start"),
        ("write a  PROGRAM to sort numbers.", "banned start"),
        ("Explain how to Write a program well.", None),
        ("#1 thing to know about owls", "starts with punctuation"),
        ("“Carpe diem” means what to you?", "starts with a non-English character"),
        ("Éclairs: explain how to bake them.", "starts with a non-English character"),
        ("3 reasons to sleep well at night", None),
        ("Translate 'good morning' into Japanese: おはよう", None),
        ("1 写一个关于猫和狗的故事吧", "wrong language"),
    ],
)
def test_length_beginning_and_language(text: str, broken: str | None) -> None:
    assert rule(text) == broken


def test_a_rule_is_off_where_it_is_empty() -> None:
    nothing = Rules(min_words=0, max_words=0, max_characters=0)
    for text in ("", "?", "Ü", "Write a program", "image " * 500, "x" * 9999):
        assert rule(text, nothing, inputs=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "Delete a file from the repository and keep it on disk.",
        "Write a program that builds a map of words.",
        "Draw a graph of the commit history with git log.",
        "Plot the running time of both versions.",
    ],
)
def test_files_maps_and_programs_are_welcome_in_the_recipe_for_code(text: str) -> None:
    assert rule(text) is not None
    assert rule(text, CODE) is None


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("解释什么是分支", None),
        ("笑话", "too short"),
        ("《红楼梦》的作者是谁?", None),
        ("、请列出三种水果", "starts with punctuation"),
        ("请画出一张流程图说明过程", "keyword"),
        ("编写一个程序来计算总和", "banned start"),
        ("Explain what a branch is in Git.", "wrong language"),
        ("用 Python 写一个函数 sort_by_length,并加上注释", None),
        ("写" * 301, "too long"),
    ],
)
def test_the_chinese_recipe_counts_characters_and_knows_its_script(text: str, broken: str | None) -> None:
    assert rule(text, CHINESE) == broken


def test_in_another_language_the_first_letter_is_left_alone() -> None:
    german = load_recipe("english").text.replace('language = "English"', 'language = "German"')
    from pairsmith.pairs.recipes import read_recipe

    rules = read_recipe(german, "x").rules_of("self-instruct")
    assert rule("Überlege dir drei Namen für einen Hund.", rules) is None
    assert rule("Erkläre, was ein Video ist und wie es entsteht.", rules) == "keyword"


@pytest.mark.parametrize(
    "text",
    [
        "Summarize the following article in one sentence.",
        "Rewrite the given sentence in the passive voice.",
        "What is the main idea of the text below?",
        "Translate the following paragraph into French.",
        "Sort these numbers in descending order.",
        "Correct the grammar of the provided sentence.",
        "请总结以下文章的主要内容",
        "把下面的句子翻译成英文",
    ],
)
def test_a_text_that_is_spoken_of_and_not_there_is_missing(text: str) -> None:
    assert speaks_of_input(text)
    assert rule(text, replace(PAPER, script="", non_english_start=False), inputs=False) == "missing input"
    assert rule(text, replace(PAPER, script="", non_english_start=False)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Summarize the following sentence: The cat sat on the mat.",
        'Rewrite the given sentence "I am here" in the past tense.',
        "Sort these numbers: 3, 1, 2.",
        "Translate the following text\nGood morning to all of you",
        "Describe the text editor that you like best.",
        "Write a funny interview question. Why did you choose this question?",
        "把下面的句子翻译成英文:今天天气很好",
        "Explain how to write a good sentence.",
    ],
)
def test_a_text_that_is_there_or_not_spoken_of_is_not_missed(text: str) -> None:
    assert not speaks_of_input(text)


def test_what_can_be_mended_are_the_rules_that_a_rewriting_can_keep() -> None:
    assert {
        "too long",
        "banned start",
        "starts with punctuation",
        "starts with a non-English character",
        "wrong language",
        "missing input",
    } == MENDABLE


PIECES = st.sampled_from(["image", "GO", "go to", "to", "Map", "s", "_", "9", "é", " ", "\n", "\u00a0", "."])


@given(st.lists(PIECES | st.characters(exclude_categories=("Cs",)), max_size=12).map("".join))
@example("Go \n to the map")
@example("an imagery of gogo to")
def test_keywords_are_found_as_the_papers_expression_finds_them(text: str) -> None:
    words = ["image", "go to", "map"]
    paper = re.search(r"\b(?:image|go\s+to|map)\b", text, re.IGNORECASE)
    found = find_keyword(text, words)
    assert (found is None) == (paper is None)


@given(st.text(max_size=200), st.sampled_from([PAPER, CODE, CHINESE]))
def test_any_text_gets_an_answer(text: str, rules: Rules) -> None:
    broken = broken_rule(text, rules)
    assert broken is None or all(isinstance(part, str) for part in broken)


@pytest.mark.parametrize(
    ("text", "words"), [("a b  c", 3), ("don't do it", 3), ("解释 Git 分支", 5), ("", 0)]
)
def test_words_are_counted_as_the_paper_does_and_characters_where_there_are_no_spaces(
    text: str, words: int
) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("script", "text"),
    [("cyrillic", "Объясни"), ("greek", "Εξήγησε"), ("arabic", "اشرح"), ("hangul", "설명"), ("thai", "อธิบาย"),
     ("devanagari", "समझाओ"), ("hebrew", "הסבר"), ("kana", "説明して"), ("latin", "Erkläre"), ("han", "解释")],
)  # fmt: skip
def test_each_script_knows_its_letters(script: str, text: str) -> None:
    assert written_in(text, script)
    assert [name for name in SCRIPTS if written_in(text, name)] in ([script], ["han", "kana"], ["kana"])
