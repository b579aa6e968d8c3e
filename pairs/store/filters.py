"""Which pairs: a filter as data, and the SQL that finds them by an index whatever is asked.

A filter is compiled to one *driver* (a query that yields pair ids by an index, in order of id, from any
starting point) and conditions on the rows it yields. Undone pairs are never found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pairsmith.backends.text import clean

from .driver import sqlite3
from .search import match_expression
from .topics import subtree

VERDICTS = ("undecided", "accepted", "rejected")


@dataclass(frozen=True, slots=True)
class PairFilter:
    """All conditions hold together; the defaults hold for every pair.

    `topic_id` means the topic with all below it. `text` is what a person types into the search. `edited`:
    whether the chosen version is a human's edit. `scored` looks at the newest judgement of `judge` (empty: of
    whichever) on the chosen version; "not scored": there is none. `ids` limits to these pairs (what an
    expression selected).
    """

    verdict: Literal["undecided", "accepted", "rejected", "not-rejected", "decided"] | None = None
    decided_by: Literal["human", "rule"] | None = None
    topic_id: int | None = None
    origin: Literal["generated", "imported", "human"] | None = None
    run_id: int | None = None
    import_id: int | None = None
    text: str = ""
    edited: bool | None = None
    tag: str | None = None
    scored: Literal["scored", "failed", "not scored"] | None = None
    judge: str = ""
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL for a filter, its two places {bound} and {tail} still open.

    `key` is the column that a bound speaks of. A `branched` driver walks several stretches of one index, each
    in order and each with the tail; any other is one ordered walk, and the tail belongs to the whole query.
    """

    driver: str
    key: str
    condition: str
    parameters: Mapping[str, Any]
    branched: bool = False

    def query(self, columns: str = "pair.id", joins: str = "") -> str:
        """A SELECT of every pair of the filter, in no order; `joins` may add tables that refer to `pair`."""
        return (
            f"SELECT {columns} FROM ({self.driver.format(bound='', tail='')}) AS hit"
            f" CROSS JOIN pair ON pair.id = hit.id {joins} WHERE {self.condition}"
        )

    def walk(self, *, older: bool, cursor: bool) -> str:
        """A SELECT of at most :limit ids from the cursor (not included) on, towards older or newer ones."""
        bound = f"AND {self.key} {'<' if older else '>'} :cursor" if cursor else ""
        way = "DESC" if older else "ASC"
        inner = f"ORDER BY {self.key} {way} LIMIT :limit" if self.branched else ""
        return (
            f"SELECT pair.id FROM ({self.driver.format(bound=bound, tail=inner)}) AS hit"
            f" CROSS JOIN pair ON pair.id = hit.id WHERE {self.condition} ORDER BY hit.id {way} LIMIT :limit"
        )


def compile_filter(conn: sqlite3.Connection, chosen: PairFilter) -> Compiled:
    """Choose the index that narrows most, and turn the rest into conditions on `pair`."""
    parameters: dict[str, Any] = {}
    conditions: list[str] = []
    _add_conditions(chosen, conditions, parameters)
    verdicts = _verdicts(chosen)
    topics = None if chosen.topic_id is None else subtree(conn, chosen.topic_id)
    expression = match_expression(chosen.text)
    single = _single_driver(chosen, expression, parameters)
    if single is None:
        return _branches(verdicts, topics, conditions, parameters)
    driver, key = single
    if chosen.ids is not None and expression is not None:
        parameters["text"] = expression
        conditions.append(
            "EXISTS (SELECT 1 FROM pair_fts WHERE pair_fts MATCH :text AND pair_fts.rowid = pair.id)"
        )
    conditions.append("pair.removed = 0")
    if len(verdicts) < len(VERDICTS):
        conditions.append(f"pair.verdict IN ({_quoted(verdicts)})")
    if topics is not None:
        conditions.append(f"pair.topic_id IN ({', '.join(map(str, topics))})")
    return Compiled(driver, key, " AND ".join(conditions), parameters)


def _verdicts(chosen: PairFilter) -> tuple[str, ...]:
    verdicts: tuple[str, ...]
    if chosen.verdict is None:
        verdicts = VERDICTS
    elif chosen.verdict == "not-rejected":
        verdicts = ("undecided", "accepted")
    elif chosen.verdict == "decided":
        verdicts = ("accepted", "rejected")
    else:
        verdicts = (chosen.verdict,)
    if chosen.decided_by is not None:
        verdicts = tuple(verdict for verdict in verdicts if verdict != "undecided")
    return verdicts


def _single_driver(
    chosen: PairFilter, expression: str | None, parameters: dict[str, Any]
) -> tuple[str, str] | None:
    if chosen.ids is not None:
        parameters["ids"] = "[" + ",".join(map(str, chosen.ids)) + "]"
        return "SELECT value AS id FROM json_each(:ids) WHERE 1 {bound} {tail}", "value"
    if expression is not None:
        parameters["text"] = expression
        return "SELECT rowid AS id FROM pair_fts WHERE pair_fts MATCH :text {bound} {tail}", "rowid"
    if chosen.tag is not None:
        return (
            "SELECT tagged.id FROM verdict INDEXED BY verdict_tagged"
            " CROSS JOIN pair AS tagged ON tagged.version_id = verdict.version_id"
            " WHERE verdict.tags <> '[]' {bound} {tail}",
            "tagged.id",
        )
    if chosen.edited:
        return "SELECT edited.id FROM pair AS edited WHERE edited.versions > 1 {bound} {tail}", "edited.id"
    for column, value in (("import_id", chosen.import_id), ("run_id", chosen.run_id)):
        if value is not None:
            parameters[column] = value
            walk = f"SELECT own.id FROM pair AS own WHERE own.{column} = :{column} {{bound}} {{tail}}"
            return walk, "own.id"
    return None


def _branches(
    verdicts: tuple[str, ...], topics: list[int] | None, conditions: list[str], parameters: dict[str, Any]
) -> Compiled:
    # One index holds every pair by verdict (and topic) in order of id; several verdicts are several ordered
    # walks.
    names = (
        "SELECT column1 AS verdict FROM (VALUES " + ", ".join(f"('{verdict}')" for verdict in verdicts) + ")"
    )
    own = "own.removed = 0 AND own.verdict = branch.verdict"
    if topics is not None:
        parameters["topics"] = "[" + ",".join(map(str, topics)) + "]"
        names = f"SELECT verdict, value AS topic FROM ({names}) JOIN json_each(:topics)"
        own = f"own.topic_id = branch.topic AND {own}"
    inner = f"SELECT own.id FROM pair AS own WHERE {own}"
    for condition in conditions:
        inner += f" AND {condition.replace('pair.', 'own.')}"
    driver = (
        f"SELECT chosen.id FROM ({names}) AS branch"
        f" CROSS JOIN pair AS chosen ON chosen.id IN ({inner} {{bound}} {{tail}})"
    )
    if not verdicts:
        driver = "SELECT own.id FROM pair AS own WHERE 0 {bound} {tail}"
    return Compiled(driver, "own.id", "1", parameters, branched=True)


def _add_conditions(chosen: PairFilter, conditions: list[str], parameters: dict[str, Any]) -> None:
    for column, value in (
        ("verdict_by", chosen.decided_by),
        ("origin", chosen.origin),
        ("run_id", chosen.run_id),
        ("import_id", chosen.import_id),
    ):
        if value is not None:
            parameters[column] = value
            conditions.append(f"pair.{column} = :{column}")
    if chosen.tag is not None:
        parameters["tag"] = clean(chosen.tag)[0]
        conditions.append(
            "EXISTS (SELECT 1 FROM verdict JOIN json_each(verdict.tags) AS tag"
            " WHERE verdict.version_id = pair.version_id AND tag.value = :tag)"
        )
    if chosen.edited is not None:
        conditions.append(
            f"{'' if chosen.edited else 'NOT '}(pair.versions > 1 AND EXISTS (SELECT 1 FROM version"
            " WHERE version.id = pair.version_id AND version.maker = 'human' AND version.number > 1))"
        )
    if chosen.scored is not None:
        if chosen.judge:
            parameters["judge"] = clean(chosen.judge)[0]
        newest = (
            "(SELECT state FROM judgement WHERE judgement.version_id = pair.version_id"
            f"{' AND judgement.judge = :judge' if chosen.judge else ''} ORDER BY judgement.id DESC LIMIT 1)"
        )
        wanted = "IS NULL" if chosen.scored == "not scored" else f"= '{chosen.scored}'"
        conditions.append(f"{newest} {wanted}")


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)
