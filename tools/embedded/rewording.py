"""The same question in other words: synonyms, other frames, words left out, slips of the keyboard.

What is trained on a phrasing alone learns the phrasing. A learner who meets each one with ever other words around its
matter has to read them all (Wei and Zou 2019, "EDA: Easy data augmentation techniques"). Names in a template stand as
`%s` and stay as they are. Nothing of this is used where a question is measured or written down in a list.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

from . import words

_SAME = """
delete|remove|erase|get rid of|scrap|wipe out
deleting|removing|erasing|getting rid of
deleted|removed|erased|wiped out
show|display|print|list|let me see|tell me|output
see|view|look at|inspect|examine|take a look at|read
shows|displays|prints|lists
create|make|set up|add
creating|making|setting up
created|made|set up
find|search for|look for|locate|hunt down|discover
finding|searching for|looking for|locating
undo|take back|cancel|reverse|roll back|revert
undoing|taking back|cancelling|reversing
undone|taken back|cancelled|reversed
throw away|discard|dump|get rid of|drop|trash
throwing away|discarding|dumping|dropping
discarded|thrown away|dumped|dropped
save|keep|store|preserve
upload|send|publish|push
uploading|sending|publishing|pushing
download|retrieve|obtain
change|alter|modify|edit|adapt
changed|altered|modified|edited|touched
changing|altering|modifying|editing
switch to|go to|move to|change to|jump to|hop over to
combine|join|unite|bring together
move|shift|transfer
replace|swap|exchange|substitute
check|verify|make sure
fix|repair|correct|mend
stop|quit|end|give up|abandon
continue|go on with|carry on with|proceed with
give|assign
put|place
rename|change the name of|give a new name to
call|name
copy|duplicate|replicate
apply|use|bring in
restore|bring back|recover|get back
ignore|leave out|skip|exclude
include|contain|have
compare|contrast|diff
latest|last|newest|most recent
first|earliest|oldest
previous|earlier|former|preceding
current|present
changes|edits|modifications|work
change|edit|modification
message|description|text
repository|repo|project
directory|folder
working tree|working directory|working copy
staging area|index
author|writer
computer|machine|laptop
server|remote side
colleague|coworker|team mate
only|just|nothing but
without|with no
temporarily|for a while|for the time being|for now
locally|on my machine|on this computer
everything|all of it|the whole lot
everywhere|in all places
wrong|bad|mistaken|faulty
accidentally|by mistake|by accident|unintentionally
now|at this point|right now
again|once more|another time
immediately|at once|right away|straight away
whole|entire|complete
each|every|every single
also|as well|too
contains|includes|holds|has
difference|differences
happened|took place|occurred
need|require
every|each
several|multiple|many
"""
_OPENINGS = (
    "How do I {}?",
    "How can I {}?",
    "How should I {}?",
    "How would I {}?",
    "How to {}",
    "How to {}?",
    "What is the way to {}?",
    "What's the command to {}?",
    "What is the Git command to {}?",
    "Which command do I need to {}?",
    "Is there a way to {}?",
    "Can Git {}?",
    "Can you {}?",
    "Could you tell me how to {}?",
    "Tell me how to {}.",
    "Show me how to {}.",
    "Explain how to {}.",
    "I want to {}.",
    "I would like to {}.",
    "I'd like to {}.",
    "I need to {}.",
    "I have to {}.",
    "I must {}.",
    "I'm trying to {}.",
    "Help me {}.",
    "What do I type to {}?",
    "What do I have to do to {}?",
    "Time to {}.",
    "Please {}.",
    "git: {}",
)
_OPENED = re.compile(
    r"(?:how (?:do|can|should|would|could) i|i (?:want|need|have|would like|wish) to|i'd like to"
    r"|(?:which|what) (?:git )?command (?:lets me|can i use to|do i use to)|what's the command to"
    r"|what is the (?:git )?command to|please|can i|is there a way to|how to|help me) (?P<goal>[^.?!]+)[.?!]?",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(r"(?P<goal>[A-Z][a-z]+ [^.?!]+)\.")
_VERBS = frozenset(
    words.of(
        "add apply bring call cancel change check choose clean combine commit compare copy create cut delete "
        "describe discard display download drop edit erase exclude fetch find fold forget get give go ignore "
        "include insert join jump keep list locate look make mark merge move name open pick print publish pull "
        "push put rebase record recover register remove rename replace replay reset restore reverse revert roll "
        "save search see send set show squash stage start stash store switch tag take tell throw transfer "
        "uncommit undo unstage untrack update upload use view write"
    )
)
_HEADS = (
    "In Git, ",
    "Hi, ",
    "Hello! ",
    "Hey, ",
    "Quick question: ",
    "Beginner here: ",
    "I am new to Git. ",
    "OK, ",
    "Sorry, ",
    "With git: ",
    "On the command line: ",
)
_TAILS = (
    " Thanks!",
    " Please.",
    " How?",
    " How do I do that?",
    " Which command does that?",
    " What is the command?",
    " What do I type?",
    " Is that possible?",
    " What should I run?",
    " I use the terminal.",
    " One command if possible.",
)
_OTHER_FRAME, _HEAD, _TAIL, _SYNONYMS, _WITH_GAPS, _SLIP = 0.4, 0.15, 0.15, 0.6, 0.35, 0.1
"""How often a question gets each."""
_EACH, _GAP = 0.5, 0.15
"""How often a word with synonyms is replaced, and how often a word is left out."""


@lru_cache(maxsize=1)
def _synonyms() -> tuple[re.Pattern[str], dict[str, list[str]]]:
    others: dict[str, list[str]] = {}
    for line in _SAME.strip().splitlines():
        words = line.split("|")
        for word in words:
            others.setdefault(word, []).extend(one for one in words if one != word)
    longest = sorted(others, key=len, reverse=True)
    pattern = r"(?<![\w%-])(?:" + "|".join(map(re.escape, longest)) + r")(?![\w-])"
    return re.compile(pattern, re.IGNORECASE), others


def reworded(template: str, rng: random.Random) -> str:
    """A template (`%s` for names, `%%` for a percent sign) in other words; now and then as it was."""
    text = template
    if not text.startswith("git "):
        if rng.random() < _OTHER_FRAME:
            text = _framed(text, rng)
        if rng.random() < _SYNONYMS:
            text = _with_synonyms(text, rng)
    if rng.random() < _WITH_GAPS:
        text = _with_gaps(text, rng)
    if rng.random() < _SLIP:
        text = _with_slip(text, rng)
    if rng.random() < _HEAD:
        text = rng.choice(_HEADS) + text
    if rng.random() < _TAIL:
        text += rng.choice(_TAILS)
    return text


def _framed(text: str, rng: random.Random) -> str:
    """Another opening, where the question is a goal with an opening around it."""
    found = _OPENED.fullmatch(text) or _IMPERATIVE.fullmatch(text)
    if found is None:
        return text
    goal = found["goal"]
    goal = goal[:1].lower() + goal[1:]
    if goal.split(" ", 1)[0] not in _VERBS:
        return text
    return rng.choice(_OPENINGS).format(goal) if rng.random() < 0.8 else goal[:1].upper() + goal[1:] + "."


def _with_synonyms(text: str, rng: random.Random) -> str:
    pattern, others = _synonyms()

    def other(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() > _EACH:
            return word
        chosen = rng.choice(others[word.lower()])
        return chosen[:1].upper() + chosen[1:] if word[:1].isupper() else chosen

    return pattern.sub(other, text)


def _with_gaps(text: str, rng: random.Random) -> str:
    kept = [word for word in text.split(" ") if "%" in word or rng.random() > _GAP]
    return " ".join(kept) or text


def _with_slip(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    places = [place for place, word in enumerate(words) if word.isalpha() and len(word) > 4]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = rng.choice((swapped, word[:at] + word[at + 1 :]))
    return " ".join(words)
