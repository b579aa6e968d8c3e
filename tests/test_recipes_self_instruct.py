"""What a recipe says about Self-Instruct: its own fields, and what it takes over from the shipped recipes."""

from __future__ import annotations

import random

import pytest

from pairsmith.pairs.errors import RecipeError
from pairsmith.pairs.examples import PRESETS, Examples, choose_examples, parse_examples
from pairsmith.pairs.recipes import load_recipe, read_recipe

MINIMAL = """
name = "m"
language = "English"
method = "self-instruct"
[tasks]
prompt = "{count} like {examples}"
[instances]
prompt = "{instruction}"
"""


def test_a_minimal_recipe_for_pools_takes_the_rest_from_what_ships() -> None:
    recipe, shipped = read_recipe(MINIMAL, "x"), load_recipe("self-instruct")
    assert recipe.classification == shipped.classification
    assert recipe.topics == load_recipe("english").topics
    assert recipe.pool_rules == recipe.rules
    assert recipe.rules.keywords == ()


def test_a_recipe_for_the_topic_tree_takes_the_whole_of_self_instruct_from_what_ships_in_its_language() -> (
    None
):
    for name, pool in (("english", "self-instruct"), ("chinese", "self-instruct-chinese")):
        recipe, shipped = load_recipe(name), load_recipe(pool)
        assert (recipe.tasks, recipe.rewrite) == (shipped.tasks, shipped.rewrite)
        assert recipe.pool_rules == shipped.rules
        assert recipe.rules_of("topic-tree").keywords == ()


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (("[tasks]", "[task]"), "task"),
        (("{examples}", "them"), "{examples}"),
        (("{count} like", "{number} like"), "{number}"),
        (("[tasks]", '[self_instruct]\nexamples = "some"\n[tasks]'), "self_instruct.examples"),
        (("[tasks]", '[self_instruct]\noutput_first = "maybe"\n[tasks]'), "self_instruct.output_first"),
        (("[tasks]", "[self_instruct]\ntopic = ' '\n[tasks]"), "self_instruct.topic"),
        (("[tasks]", '[rules]\nscript = "runes"\n[tasks]'), "rules.script"),
        (("[tasks]", '[rules]\nkeywords = "file"\n[tasks]'), "rules.keywords"),
        (("[tasks]", '[rules]\nkeywords = ["file", 7]\n[tasks]'), "rules.keywords"),
        (("[tasks]", '[rules]\nkeywords = [""]\n[tasks]'), "rules.keywords"),
        (("[tasks]", "[rules]\nmin_words = -1\n[tasks]"), "rules"),
        (("[tasks]", '[diversity]\navoid = "{words}"\n[tasks]'), "{words}"),
    ],
)
def test_what_is_wrong_is_named(edit: tuple[str, str], named: str) -> None:
    with pytest.raises(RecipeError) as raised:
        read_recipe(MINIMAL.replace(*edit), "mine.toml")
    assert named in str(raised.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("paper", Examples(6, 2)),
        ("alpaca", Examples(3, 0)),
        ("mixed", Examples(mixed=3)),
        ("4+1", Examples(4, 1)),
        ("0+3", Examples(0, 3)),
        ("0+0", None),
        ("60+1", None),
        ("6 + 2", None),
        ("", None),
    ],
)
def test_examples_are_chosen_by_name_or_by_two_numbers(text: str, found: Examples | None) -> None:
    assert parse_examples(text) == found


def test_where_the_model_has_written_too_few_seeds_take_their_places() -> None:
    seeds = [f"s{n}" for n in range(20)]
    rng = random.Random(0)
    assert len(choose_examples(PRESETS["paper"], seeds, [], rng)) == 8
    shown = choose_examples(PRESETS["paper"], seeds, ["m0"], rng)
    assert (len(shown), shown.count("m0")) == (8, 1)
    assert len(choose_examples(PRESETS["paper"], seeds[:3], ["m0", "m1", "m2"], rng)) == 5
    assert len(choose_examples(PRESETS["mixed"], seeds[:1], [], rng)) == 1
