"""What a recipe holds, table by table. How one is read from TOML: recipes.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

METHODS = ("topic-tree", "self-instruct")


@dataclass(frozen=True, slots=True)
class Stage:
    """One prompt with the numbers it is sent with. `existing` goes into the prompt where there is something to show."""

    prompt: str
    system: str = ""
    existing: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 1024
    count: int = 5
    """Topics: how many where the user does not say. Instances: how many are asked for, the first good one counts."""
    per_call: int = 20
    """Instructions and tasks: how many are asked for in one call."""
    shown: int = 40
    """Instructions and tasks: how many existing ones the model is shown."""
    constrain: bool = True
    """Lists: whether a backend that can is made to answer in JSON by a schema."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """When an instruction is refused as too similar (ROUGE-L F-measure, strictly above)."""

    threshold: float = 0.7
    parity: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What an instruction must be like. A word is what stands between spaces; a character of a script without spaces
    counts as one. Every rule is off where its value is 0, empty or false."""

    min_words: int = 2
    max_words: int = 150
    max_characters: int = 4000
    keywords: tuple[str, ...] = ()
    """Whole words, in any case, that no instruction may have."""
    banned_starts: tuple[str, ...] = ()
    punctuation_start: bool = False
    non_english_start: bool = False
    """Refuses what does not start with an ASCII character."""
    script: str = ""
    """Refuses what is hardly written in this script: latin, han, cyrillic, ... (instruction_rules.py)."""
    missing_input: bool = False
    """Refuses what speaks of "the following text" where there is none."""


@dataclass(frozen=True, slots=True)
class SelfInstruct:
    """How Self-Instruct goes about it."""

    examples: str = "paper"
    """Tasks shown in a prompt: paper (6 seeds, 2 of the model's), alpaca (3 seeds), mixed (3 of all), or like 4+2."""
    detect_classification: bool = True
    output_first: str = "classification"
    """Whose label or output is written before the input: classification, always or never."""
    discard_cut: bool = False
    """True, as in the paper: a list that the token limit cut off is thrown away whole, not only its last task."""
    raw_header: str = "Come up with a series of tasks:"
    """What a base model's prompt begins with."""
    topic: str = "Tasks"
    """The topic that the pool's pairs stand under."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """Whether list prompts steer away from what is used too much, and the sentences that do it; {items} is filled in.
    They follow what `existing` shows. An empty sentence is left out."""

    steer: bool = True
    avoid: str = ""
    rare: str = ""


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """A topic has run dry when its last `calls` lists together gave less than `yield_floor` of what was asked."""

    yield_floor: float = 0.1
    calls: int = 8


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that the recipe suggests, as BACKEND:MODEL; for a judge also the kind of judging."""

    model: str
    kind: str = "auto"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What was asked of the run that a recipe was written after. Whoever starts from it is offered the same; nothing
    happens by itself. `pairs` 0: of no run; `seed` -1: none; an empty `method`: the recipe's."""

    pairs: int = 0
    method: str = ""
    where: str = ""
    seed: int = -1
    examples: str = ""
    refine: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as read; `text` is the file it was read from, byte for byte. Stages of the method that is not its own
    are, where it has none, those of the shipped recipe in its language."""

    name: str
    language: str
    text: str
    topics: Stage
    instructions: Stage
    responses: Stage
    tasks: Stage
    classification: Stage
    instances: Stage
    label_instances: Stage
    rewrite: Stage
    method: str = "topic-tree"
    generator: ModelChoice | None = None
    judge: ModelChoice | None = None
    similarity: Similarity = Similarity()
    rules: Rules = Rules()
    pool_rules: Rules = Rules()
    """The rules of Self-Instruct: `rules`, if the recipe is made for that method, else the shipped recipe's."""
    self_instruct: SelfInstruct = SelfInstruct()
    diversity: Diversity = Diversity()
    exhaustion: Exhaustion = Exhaustion()
    run: RunSettings = RunSettings()
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """BACKEND:MODEL -> US dollars for a million tokens (prompt, completion)."""

    def rules_of(self, method: str) -> Rules:
        """The rules that instructions of a method must keep."""
        return self.pool_rules if method == "self-instruct" else self.rules
