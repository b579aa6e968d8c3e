"""Undo and redo of everything: against a model, across restarts and processes, and where others came
between.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pairsmith.pairs.normalise import text_key
from pairsmith.pairs.store import journal, topics
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.edits import add_model_version, choose_version, edit_pair
from pairsmith.pairs.store.errors import DuplicatePair, NoSuchPair
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.import_rows import BatchInfo, ImportRow, import_pairs
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.paging import snapshot_ids
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair, get_versions
from pairsmith.pairs.store.ratings import NewRating, add_rating
from pairsmith.pairs.store.runs import start_run
from pairsmith.pairs.store.search import search
from pairsmith.pairs.store.verdicts import decide, get_verdict
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from tests.stores import add_pairs, content, new_workspace, python

# A few words, so that texts meet: duplicates, case, and a script without spaces among them.
TEXTS = st.sampled_from(["red", "Red ", "green", "blue sky", "蓝天", "naïve", "a\x00b", "x" * 300])
VERDICTS = st.sampled_from(["accepted", "rejected", "undecided"])


class ModelPair:
    """What the machine expects of one pair: its versions, which is chosen, and each version's verdict."""

    def __init__(self, text: tuple[str, str]) -> None:
        self.versions: dict[int, tuple[str, str]] = {}
        self.text = text
        self.chosen = 0
        self.verdicts: dict[int, tuple[str, str]] = {}

    def copy(self) -> ModelPair:
        twin = ModelPair(self.text)
        twin.versions, twin.chosen, twin.verdicts = dict(self.versions), self.chosen, dict(self.verdicts)
        return twin


class StoreMachine(RuleBasedStateMachine):
    """Random acts on a workspace and on a dictionary, which must stay equal; restarts at any moment."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.workspace = new_workspace(Path(self.folder.name))
        self.model: dict[int, ModelPair] = {}
        self.past: list[dict[int, ModelPair]] = []
        self.future: list[dict[int, ModelPair]] = []

    def teardown(self) -> None:
        if hasattr(self, "workspace"):
            self.workspace.close()
            assert check_workspace(self.workspace.path) == []
            self.folder.cleanup()

    def act(self) -> None:
        self.past.append({key: pair.copy() for key, pair in self.model.items()})
        self.future.clear()

    def taken(self, instruction: str, output: str, but: int | None = None) -> bool:
        wanted = text_key(_clean(instruction), "", _clean(output))
        return any(
            key != but
            and text_key(pair.versions[pair.chosen][0], "", pair.versions[pair.chosen][1]) == wanted
            for key, pair in self.model.items()
        )

    def pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.model)))

    @rule(instruction=TEXTS, output=TEXTS)
    def generate(self, instruction: str, output: str) -> None:
        # What a job adds is no act: it stays when the acts before it are undone.
        pair = NewPair(instruction, output, origin="human")
        if self.taken(instruction, output) or self.past or self.future:
            return
        pair_id = self.workspace.write(lambda conn: add_pair(conn, pair))
        self.put(pair_id, instruction, output)

    def put(self, pair_id: int, instruction: str, output: str) -> None:
        stored = self.workspace.read(lambda conn: get_pair(conn, pair_id))
        model = ModelPair((instruction, output))
        model.versions[stored.version.id] = (_clean(instruction), _clean(output))
        model.chosen = stored.version.id
        self.model[pair_id] = model

    @rule(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
    def bring_in(self, rows: list[tuple[str, str]]) -> None:
        fresh: list[tuple[str, str]] = []
        for instruction, output in rows:
            keys = {text_key(_clean(a), "", _clean(b)) for a, b in fresh}
            if (
                not self.taken(instruction, output)
                and text_key(_clean(instruction), "", _clean(output)) not in keys
            ):
                fresh.append((instruction, output))
        if fresh:
            self.act()
        given = [ImportRow(a, b, line=i) for i, (a, b) in enumerate(rows)]
        before = set(self.model)
        report = self.workspace.write(lambda conn: import_pairs(conn, given, BatchInfo("f", "jsonl")))
        assert (report.added, report.duplicates) == (len(fresh), len(rows) - len(fresh))
        ids = [i for i in self.workspace.read(lambda c: sorted(snapshot_ids(c))) if i not in before]
        for pair_id, (instruction, output) in zip(ids, fresh, strict=True):
            self.put(pair_id, instruction, output)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), verdict=VERDICTS)
    def decide_one(self, data: st.DataObject, verdict: str) -> None:
        self.decide_some([self.pick(data)], verdict)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), verdict=VERDICTS)
    def decide_list(self, data: st.DataObject, verdict: str) -> None:
        self.decide_some(data.draw(st.lists(st.sampled_from(sorted(self.model)), unique=True)), verdict)

    def decide_some(self, ids: list[int], verdict: str) -> None:
        wanted = None if verdict == "undecided" else (verdict, "human")
        changed = [i for i in ids if self.model[i].verdicts.get(self.model[i].chosen) != wanted]
        if changed:
            self.act()
        done = self.workspace.write(lambda conn: decide(conn, ids, verdict))  # type: ignore[arg-type]
        assert done.changed == len(changed)
        self.set_verdicts(changed, wanted)

    def set_verdicts(self, ids: list[int], wanted: tuple[str, str] | None) -> None:
        for pair_id in ids:
            pair = self.model[pair_id]
            pair.verdicts.pop(pair.chosen, None)
            if wanted is not None:
                pair.verdicts[pair.chosen] = wanted

    @rule(which=st.sampled_from(["undecided", "accepted", "rejected", "not-rejected", None]))
    def reject_by_rule(self, which: Any) -> None:
        changed = [
            i
            for i, pair in self.model.items()
            if pair.chosen not in pair.verdicts and which in ("undecided", "not-rejected", None)
        ]
        if changed:
            self.act()
        done = self.workspace.write(
            lambda conn: decide(conn, PairFilter(verdict=which), "rejected", by="rule", rule="r")
        )
        assert done.changed == len(changed)
        self.set_verdicts(changed, ("rejected", "rule"))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), output=TEXTS, regenerated=st.booleans())
    def change(self, data: st.DataObject, output: str, regenerated: bool) -> None:
        pair_id = self.pick(data)
        pair = self.model[pair_id]
        instruction, old = pair.versions[pair.chosen]

        def work(conn: sqlite3.Connection) -> int:
            if regenerated:
                return add_model_version(conn, pair_id, output)
            return edit_pair(conn, pair_id, output=output)

        if not regenerated and _clean(output) == old:
            assert self.workspace.write(work) == pair.chosen
        elif self.taken(instruction, output, but=pair_id):
            with pytest.raises(DuplicatePair):
                self.workspace.write(work)
        else:
            self.act()
            version = self.workspace.write(work)
            pair = self.model[pair_id]
            pair.versions[version] = (instruction, _clean(output))
            pair.chosen = version

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        pair_id = self.pick(data)
        pair = self.model[pair_id]
        version = data.draw(st.sampled_from(sorted(pair.versions)))
        if version != pair.chosen and self.taken(*pair.versions[version], but=pair_id):
            with pytest.raises(DuplicatePair):
                self.workspace.write(lambda conn: choose_version(conn, pair_id, version))
            return
        if version != pair.chosen:
            self.act()
        self.workspace.write(lambda conn: choose_version(conn, pair_id, version))
        self.model[pair_id].chosen = version

    @rule(times=st.integers(1, 5))
    def undo(self, times: int) -> None:
        for _ in range(times):
            entry = self.workspace.write(journal.undo)
            assert (entry is None) == (not self.past)
            if entry is not None:
                assert entry.left_alone == 0
                self.future.append(self.model)
                self.model = self.past.pop()

    @rule(times=st.integers(1, 5))
    def redo(self, times: int) -> None:
        for _ in range(times):
            entry = self.workspace.write(journal.redo)
            assert (entry is None) == (not self.future)
            if entry is not None:
                assert entry.left_alone == 0
                self.past.append(self.model)
                self.model = self.future.pop()

    @rule()
    def restart(self) -> None:
        self.workspace.close()
        self.workspace = open_workspace(self.workspace.path)

    @invariant()
    def the_store_equals_the_model(self) -> None:
        if not hasattr(self, "workspace"):
            return
        conn = self.workspace.connect()
        try:
            assert sorted(snapshot_ids(conn)) == sorted(self.model)
            for pair_id, pair in self.model.items():
                stored = get_pair(conn, pair_id)
                assert (stored.version.id, stored.versions) == (pair.chosen, len(pair.versions))
                assert {v.id: (v.instruction, v.output) for v in get_versions(conn, pair_id)} == pair.versions
                assert (stored.verdict, stored.verdict_by) == pair.verdicts.get(
                    pair.chosen, ("undecided", None)
                )
            for word in ("red", "green", "蓝", "sky"):
                expected = sorted(
                    key
                    for key, pair in self.model.items()
                    if _holds(word, " ".join(pair.versions[pair.chosen]))
                )
                assert sorted(search(conn, f'"{word}"', limit=1000, seconds=None)[0]) == expected
        finally:
            conn.close()


def _clean(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def _holds(word: str, text: str) -> bool:
    return word in (text.lower().split() if word.isascii() else text)


StoreMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStoreMachine = StoreMachine.TestCase


@pytest.mark.faults
class TestStoreMachineLong(StoreMachine.TestCase):  # type: ignore[misc,valid-type,name-defined]
    settings = settings(
        max_examples=400, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )


def acts(workspace: Workspace, rng: random.Random) -> Callable[[int], None]:
    """One random act of a mixed session."""

    def act(number: int) -> None:
        ids = workspace.read(lambda conn: snapshot_ids(conn))
        pick = rng.choice(ids)
        kind = rng.choice(
            ["verdict"] * 5
            + ["edit", "edit", "regenerate", "bulk", "rule", "import", "topic", "choose", "rating"]
        )

        def work(conn: sqlite3.Connection) -> None:
            if kind == "verdict":
                verdict = rng.choice(["accepted", "rejected", "undecided"])
                decide(
                    conn, [pick], verdict, reason=rng.choice(["", "wrong"]), tags=rng.sample(["a", "b"], 1)
                )
            elif kind == "edit":
                edit_pair(conn, pick, output=f"edited {number}")
            elif kind == "regenerate":
                add_model_version(conn, pick, f"anew {number}", choose=rng.random() < 0.5)
            elif kind == "bulk":
                decide(conn, PairFilter(text=f"{rng.randrange(10)}"), rng.choice(["accepted", "rejected"]))
            elif kind == "rule":
                decide(conn, rng.sample(sorted(ids), 3), "rejected", by="rule", rule="verbosity <= 2")
            elif kind == "import":
                rows = [
                    ImportRow(f"I {number} {i}", "o", topic=(f"t{number % 7}",), verdict=rng.choice(["accepted", None]),
                              scores={"j": {"helpfulness": 3.5}})
                    for i in range(3)
                ]  # fmt: skip
                import_pairs(conn, [*rows, rows[0]], BatchInfo("f", "alpaca"))
            elif kind == "rating":
                texts = bytes([number % 50]), b"z"
                add_rating(
                    conn,
                    NewRating(
                        "Ada", "compare", 1, pick, *texts, "run 1", "base", True, rng.choice([0.5, None])
                    ),
                )
            elif kind == "choose":
                choose_version(conn, pick, rng.choice(get_versions(conn, pick)).id)
            else:
                topic_act(conn, rng, number)

        workspace.write(work)

    return act


def topic_act(conn: sqlite3.Connection, rng: random.Random, number: int) -> None:
    tree = topics.list_topics(conn)
    if not tree or rng.random() < 0.4:
        topics.add_topic(
            conn, f"topic {number}", parent_id=rng.choice([None, *(t.id for t in tree)]), quota=number
        )
        return
    topic = rng.choice(tree)
    rng.choice(
        [
            lambda: topics.rename_topic(conn, topic.id, f"renamed {number}"),
            lambda: topics.set_quota(conn, topic.id, number),
            lambda: topics.prune_topic(conn, topic.id),
        ]
    )()


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.faults)])
def test_a_mixed_session_undone_to_the_end_is_the_start_and_redone_the_end(
    tmp_path: Path, count: int
) -> None:
    workspace = new_workspace(tmp_path)
    add_pairs(workspace, 40)
    workspace.write(lambda conn: start_run(conn, "evaluate", {}))
    rng = random.Random(count)
    start = workspace.read(content)
    for number in range(count):
        if number == count // 2:
            workspace.close()
            workspace = open_workspace(workspace.path)
        acts(workspace, rng)(number)
    end = workspace.read(content)
    undone = 0
    while workspace.write(journal.undo) is not None:
        undone += 1
        if undone == count // 3:
            workspace.close()
            workspace = open_workspace(workspace.path)
    assert workspace.read(content) == start
    while workspace.write(journal.redo) is not None:
        undone -= 1
    assert undone == 0
    assert workspace.read(content) == end
    workspace.close()
    assert check_workspace(workspace.path) == []


def test_undo_reaches_what_another_process_did(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 1)
        code = (
            "import sys; from pathlib import Path\n"
            "from pairsmith.pairs.store.workspace import open_workspace\n"
            "from pairsmith.pairs.store.verdicts import decide\n"
            "with open_workspace(Path(sys.argv[1])) as w: w.write(lambda c: decide(c, [1], 'accepted'))\n"
        )
        assert python(code, workspace.path).wait() == 0
        assert workspace.read(lambda conn: get_pair(conn, 1)).verdict == "accepted"
        entry = workspace.write(journal.undo)
        assert entry is not None
        assert (entry.label, entry.focus_pair_id, entry.session == journal.SESSION) == (
            "accepted pair 1",
            1,
            False,
        )
        assert workspace.read(lambda conn: get_pair(conn, 1)).verdict == "undecided"


def test_a_new_act_drops_what_could_be_redone(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 2)
        workspace.write(lambda conn: decide(conn, [1], "accepted"))
        workspace.write(journal.undo)
        workspace.write(lambda conn: decide(conn, [2], "rejected"))
        assert workspace.write(journal.redo) is None
        states = [entry.state for entry in workspace.read(journal.history)]
        assert states == ["done", "dropped"]


def test_a_jobs_verdict_is_no_act(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 2)
        workspace.write(lambda conn: decide(conn, [1], "accepted"))
        workspace.write(journal.undo)
        workspace.write(lambda conn: decide(conn, [2], "rejected", by="rule", rule="r", journalled=False))
        entry = workspace.write(journal.redo)
        assert entry is not None
        assert workspace.read(lambda conn: get_pair(conn, 1)).verdict == "accepted"


def test_rows_changed_by_a_job_since_are_left_alone_and_counted(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
        workspace.write(lambda conn: decide(conn, [1, 2, 3], "accepted"))
        workspace.write(journal.undo)
        workspace.write(lambda conn: decide(conn, [2], "rejected", by="rule", rule="r", journalled=False))
        entry = workspace.write(journal.redo)
        assert entry is not None
        assert (entry.restored, entry.left_alone) == (2, 1)
        verdicts = [workspace.read(lambda conn, n=n: get_pair(conn, n)).verdict for n in (1, 2, 3)]  # type: ignore[misc]
        assert verdicts == ["accepted", "rejected", "accepted"]


def test_an_undone_edit_whose_old_text_was_generated_since_stays_edited(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 1)
        workspace.write(lambda conn: edit_pair(conn, 1, instruction="other", output="text"))
        workspace.write(lambda conn: decide(conn, [1], "accepted"))
        add_pairs(workspace, 1)  # the very text that pair 1 had
        assert workspace.write(journal.undo) is not None
        entry = workspace.write(journal.undo)
        assert entry is not None
        assert (entry.restored, entry.left_alone) == (0, 1)
        assert workspace.read(lambda conn: get_pair(conn, 1)).instruction == "other"
        redone = workspace.write(journal.redo)
        assert redone is not None
    assert check_workspace(workspace.path) == []


def test_a_redone_import_leaves_out_what_exists_by_now(tmp_path: Path) -> None:
    rows = [ImportRow("a", "b"), ImportRow("c", "d")]
    with new_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: import_pairs(conn, rows, BatchInfo("f", "x")))
        workspace.write(journal.undo)
        workspace.write(lambda conn: add_pair(conn, NewPair("A", "B")))
        entry = workspace.write(journal.redo)
        assert entry is not None
        assert (entry.restored, entry.left_alone) == (1, 1)
        assert len(workspace.read(lambda conn: snapshot_ids(conn))) == 2


def test_an_edit_starts_undecided_and_keeps_the_old_versions_verdict(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 1)
        workspace.write(lambda conn: decide(conn, [1], "rejected", reason="wrong", tags=["b", "a"], note="n"))
        version = workspace.write(lambda conn: edit_pair(conn, 1, output="better"))
        assert workspace.read(lambda conn: get_pair(conn, 1)).verdict == "undecided"
        first = workspace.read(lambda conn: get_versions(conn, 1))[0]
        verdict = workspace.read(lambda conn: get_verdict(conn, first.id))
        assert verdict is not None
        assert (verdict.verdict, verdict.reason, verdict.tags, verdict.note) == (
            "rejected",
            "wrong",
            ("a", "b"),
            "n",
        )
        workspace.write(lambda conn: choose_version(conn, 1, first.id))
        assert workspace.read(lambda conn: get_pair(conn, 1)).verdict == "rejected"
        assert version != first.id


def test_a_human_outranks_a_rule_and_a_rule_nobody(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        add_pairs(workspace, 3)
        write = workspace.write
        write(lambda conn: decide(conn, [1], "accepted"))
        assert (
            write(lambda conn: decide(conn, PairFilter(), "rejected", by="rule", rule="x < 1")).changed == 2
        )
        assert write(lambda conn: decide(conn, [2], "rejected")).changed == 1
        assert write(lambda conn: decide(conn, [2], "rejected")).changed == 0
        assert write(lambda conn: decide(conn, [2, 3], "rejected", by="rule", rule="y")).changed == 0
        by = [workspace.read(lambda conn, n=n: get_pair(conn, n)).verdict_by for n in (1, 2, 3)]  # type: ignore[misc]
        assert by == ["human", "human", "rule"]


def test_an_undone_pair_cannot_be_edited(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: import_pairs(conn, [ImportRow("a", "b")], BatchInfo("f", "x")))
        workspace.write(journal.undo)
        with pytest.raises(NoSuchPair):
            workspace.write(lambda conn: edit_pair(conn, 1, output="c"))
        assert workspace.write(lambda conn: decide(conn, [1], "accepted")).changed == 0


def test_pruning_takes_the_subtree_and_undo_brings_it_back(tmp_path: Path) -> None:
    with new_workspace(tmp_path) as workspace:

        def grow(conn: sqlite3.Connection) -> int:
            root = topics.add_topic(conn, "branches")
            topics.add_topic(conn, "merging", parent_id=topics.add_topic(conn, "joining", parent_id=root))
            return root

        root = workspace.write(grow)
        add_pairs(workspace, 2, topic_id=root)
        before = workspace.read(content)
        assert len(workspace.write(lambda conn: topics.prune_topic(conn, root))) == 3
        assert workspace.read(topics.active_leaves) == []
        workspace.write(journal.undo)
        assert workspace.read(content) == before
        assert [topic.path for topic in workspace.read(topics.active_leaves)] == [
            ("branches", "joining", "merging")
        ]
