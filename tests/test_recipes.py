"""Recipe and rubric files: what ships can be read, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.pairs.errors import RecipeError
from pairsmith.pairs.recipes import SHIPPED, load_recipe, read_recipe
from pairsmith.pairs.rubrics import load_rubric, read_rubric
from pairsmith.pairs.templates import fill


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_can_be_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.text.startswith("#")
    assert recipe.responses.max_tokens == 1024


def test_the_reference_recipe_names_its_models_and_numbers() -> None:
    recipe = load_recipe("nim-reference")
    assert recipe.generator is not None
    assert recipe.generator.model == "nim:meta/llama-3.1-405b-instruct"
    assert recipe.judge is not None
    assert recipe.judge.model == "nim:nvidia/nemotron-4-340b-reward"
    for stage in (recipe.topics, recipe.instructions, recipe.responses):
        assert (stage.temperature, stage.top_p) == (0.2, 0.7)


def test_the_chinese_recipe_names_its_language() -> None:
    assert load_recipe("chinese").language == "Chinese"


MINIMAL = """
name = "m"
language = "English"
[topics]
prompt = "{domain} {count}"
[instructions]
prompt = "{count} about {topic}"
[responses]
prompt = "{instruction}"
"""


def test_a_minimal_recipe_gets_defaults_for_the_rest() -> None:
    assert read_recipe(MINIMAL, "x").similarity.threshold == 0.7


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (("name = ", "name = 7 #"), "'name'"),
        (("{count} about", "{number} about"), "{number}"),
        (("{count} about", "about"), "{count}"),
        (("[responses]\nprompt", "[responses]\nsurprise = 1\nprompt"), "responses.surprise"),
        (("[responses]\nprompt", "[responses]\nmax_tokens = 'x'\nprompt"), "responses.max_tokens"),
        (("[responses]\nprompt", "[responses]\nmax_tokens = true\nprompt"), "responses.max_tokens"),
        (("[responses]\nprompt", "[responses]\ntemperature = 3\nprompt"), "responses.temperature"),
        (("[topics]\nprompt", "[other]\nprompt"), "other"),
        (("[responses]", "[similarity]\nthreshold = 0\n[responses]"), "similarity.threshold"),
        (("[responses]", '[prices]\n"nim:x" = [1]\n[responses]'), "nim:x"),
        (("name = ", "method = 'magic'\nname = "), "method"),
        (("name = ", "= "), "TOML"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(edit: tuple[str, str], named: str) -> None:
    with pytest.raises(RecipeError) as raised:
        read_recipe(MINIMAL.replace(*edit), "mine.toml")
    assert "mine.toml" in str(raised.value)
    assert named in str(raised.value)


def test_a_missing_recipe_file_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="english, chinese"):
        load_recipe(str(tmp_path / "no.toml"))


def test_filling_in_never_reads_what_was_filled_in() -> None:
    assert fill("{instruction}|{input}", instruction="{input}", input="x") == "{input}|x"


def test_the_shipped_rubric_holds_the_five_attributes() -> None:
    rubric = load_rubric()
    assert [a.name for a in rubric.attributes] == [
        "helpfulness",
        "correctness",
        "coherence",
        "complexity",
        "verbosity",
    ]


def test_a_rubric_with_other_words_has_another_key(tmp_path: Path) -> None:
    from importlib.resources import files

    text = (files("pairsmith.assets") / "rubrics" / "helpsteer2.toml").read_text(encoding="utf-8")
    assert read_rubric(text, "a").key == load_rubric().key
    assert read_rubric(text.replace("no help at all", "useless"), "a").key != load_rubric().key


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (('digits = ["0", "1", "2", "3", "4"]', "digits = [0]"), "digits"),
        (('name = "coherence"', 'name = "helpfulness"'), "same name"),
        (('name = "coherence"', 'name = "two words"'), "two words"),
        (('question = "\\n{attribute}:"', 'question = "{thing}"'), "{thing}"),
    ],
)
def test_what_is_wrong_with_a_rubric_is_named(edit: tuple[str, str], named: str, tmp_path: Path) -> None:
    from importlib.resources import files

    text = (files("pairsmith.assets") / "rubrics" / "helpsteer2.toml").read_text(encoding="utf-8")
    assert edit[0] in text
    path = tmp_path / "rubric.toml"
    path.write_text(text.replace(*edit), encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        load_rubric(path)
    assert named in str(raised.value)
