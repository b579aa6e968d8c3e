"""Continuous batching: every step decodes one token of each running request and a piece of the waiting prompts.

Strictly first in, first out. A request is admitted when its prompt fits beside what runs, and preempted (youngest
first, to go on later with nothing lost but time) when the cache runs full all the same. An engine is one lane: a
context and a thread; all lanes admit from one line.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, Cancelled, ContextOverflow, Unavailable
from .cells import Cells
from .jobs import NOWHERE, Completion, Job, Scoring
from .line import Line
from .native import Context, Model
from .prefixes import WORTH_SHARING, Match, PrefixCache, common
from .replaying import departure
from .rows import Output, Rows
from .sampling import likeliest, log_softmax
from .sizing import Plan

_AHEAD = 64
"""Cells kept in mind for each running request when another is admitted."""
_WORTH_FETCHING = 64
"""Tokens for which a lane waits until another has finished its step."""


class Engine:
    """Runs jobs of `line` on one context. `turn` is called again and again, from one thread."""

    def __init__(self, model: Model, context: Context, plan: Plan, line: Line, number: int = 0) -> None:
        self.model, self.plan, self.number = model, plan, number
        self.peers: tuple[Engine, ...] = ()
        """The other lanes of this line."""
        self.strangers: tuple[Engine, ...] = ()
        """Lanes of another line: all that they share with this one is the processor."""
        self._context, self.line = context, line
        self._cells = Cells(context.capacity, context.n_seq_max, context)
        self._cache = PrefixCache(self._cells, plan.stale_rows)
        self._rows = Rows(context, self._cells, plan)
        self._running: list[Job] = []
        self._held = False
        self._refused: Job | None = None
        """The head of the line, where this lane had no room for it."""
        self._asked: Job | None = None
        """The last job whose beginning was fetched from another lane, or could not be."""
        self._decoding = False
        self._visitors = 0

    def turn(self) -> None:
        """Admit, decode once, hand out what came of it; where there is nothing to do, wait for a change."""
        changed = self.line.changed
        with changed:
            while self._visitors:
                changed.wait()
            self._drop_cancelled()
            self._admit()
            rows, outputs = self._fill()
            if not rows:
                changed.wait()
                return
            self._decoding = True
            beside = any(other._running for other in (*self.peers, *self.strangers))
            changed.notify_all()
        few = rows < self.plan.rows_for_threads
        code = self._context.decode(rows, self.plan.threads_beside if beside or few else self.plan.threads)
        with changed:
            self._decoding = False
            if code == 0:
                self._harvest(outputs)
            else:
                self._after_failure(code)
            changed.notify_all()

    # -- admission ---------------------------------------------------------------------------------------------

    def _drop_cancelled(self) -> None:
        for job in [job for job in self.line.jobs.values() if job.cancelled]:
            if job.seq == NOWHERE or job in self._running:
                self._end(job, keep=False)
                job.fail(Cancelled("The request was cancelled"))

    def _admit(self) -> None:
        while (job := self.line.head()) is not None and self._takes(job):
            if job.alone:
                self._clear()
            source = self._source(job)
            if source is None:
                return
            match, owner = source
            if owner is not self:
                self._fetch(job, owner)
            elif self._place(job, match):
                self.line.admit()
            else:
                self._refused = job
                self.line.changed.notify_all()
                return

    def _takes(self, job: Job) -> bool:
        """Whether the head of the line is this lane's to take: no more than its share while others have room."""
        lanes = (self, *self.peers)
        running = sum(len(lane._running) for lane in lanes)
        if running >= self.line.sequences or not self._open_to(job):
            return False
        if any(lane._running and (job.alone or lane._running[0].alone) for lane in lanes):
            return False
        others = [peer for peer in self.peers if peer._open_to(job)]
        if not others:
            return True
        if running == 0:
            known = self._known(job)
            return all(known >= peer._known(job) for peer in others)
        return len(self._running) < -(-(running + len(self.line)) // len(lanes))

    def _open_to(self, job: Job) -> bool:
        if len(self._running) >= self.plan.parallel or self._held or self._refused is job:
            return False
        return sum(len(other.tokens) for other in self._running) <= (
            self.plan.full_at or self._cells.capacity
        )

    def _known(self, job: Job) -> int:
        """How many of the job's first tokens lie in this lane's cache."""
        found = self._cache.find(np.asarray(job.tokens, np.int32))
        return found.length if found else 0

    def _source(self, job: Job) -> tuple[Match, Engine] | None:
        """Where the job's beginning can be copied from; None: a running job is just computing it, wait for it."""
        best, owner = Match(NOWHERE, 0), self
        if not self.model.splittable or job.alone:
            return best, owner
        for lane in (self,) if self._asked is job else (self, *self.peers):
            worth = WORTH_SHARING if lane is self else _WORTH_FETCHING
            found = lane._nearest(job, best, worth)
            if found is None:
                return None
            if lane is self or found.length >= best.length + worth:
                best, owner = found, lane
        return best, owner

    def _nearest(self, job: Job, best: Match, worth: int) -> Match | None:
        """The longest beginning of the job in this lane, if longer than `best`.

        None where one that is `worth` tokens longer is just being computed.
        """
        tokens = np.asarray(job.tokens, np.int32)
        most = len(tokens) - (0 if isinstance(job, Scoring) else 1)
        cached = self._cache.find(tokens)
        if cached and min(cached.length, most) > best.length:
            best = Match(cached.seq, min(cached.length, most), cached.entry)
        for other in self._running:
            shared = min(common(np.asarray(other.tokens, np.int32), tokens), most)
            if shared < best.length + worth:
                continue
            if shared > other.computed + WORTH_SHARING:
                return None
            ready = min(shared, other.computed)
            if ready > best.length:
                best = Match(other.seq, ready)
        return best

    def _fetch(self, job: Job, owner: Engine) -> None:
        """Copy the job's beginning from another lane into this one's cache. Lets go of the lock meanwhile."""
        self._asked = job
        changed = self.line.changed
        owner._visitors += 1
        try:
            while owner._decoding:
                changed.wait()
            match = owner._nearest(job, Match(NOWHERE, 0), _WORTH_FETCHING)
            kept = owner._saved(match) if match is not None and match.length >= _WORTH_FETCHING else None
        finally:
            owner._visitors -= 1
            changed.notify_all()
        if match is None or kept is None or not self._cache.make_room(match.length, 1):
            return
        seq = self._cells.open()
        self._cells.grow([seq], match.length)
        if self._context.load(seq, kept):
            self._cache.adopt(seq, np.asarray(job.tokens[: match.length], np.int32))
        else:
            self._cells.close(seq)

    def _saved(self, match: Match) -> Any:
        """The matched cells as bytes; None where llama.cpp cannot give them."""
        if not self._cells.free_ids:
            return None
        seq = self._cells.open()
        self._cells.share(match.seq, seq, match.length)
        try:
            return self._context.save(seq)
        finally:
            self._cells.close(seq)

    def _place(self, job: Job, match: Match) -> bool:
        """Give the job a sequence, its shared beginning in it; false where it must wait."""
        extra = sum(len(b) for b in job.branches) if isinstance(job, Scoring) else _AHEAD
        need = len(job.tokens) - match.length + extra
        if self._running:
            need += sum(other.missing + _AHEAD for other in self._running)
        need = min(need, self._cells.capacity - match.length)
        if not self._cache.make_room(need, 1, match.entry) and self._running:
            return False
        if match.entry is not None:
            self._cache.touch(match.entry)
        job.seq = self._cells.open()
        self._cells.share(match.seq, job.seq, match.length)
        self._remember(job, match)
        job.computed = match.length
        job.cached = match.length if not job.preempted else job.cached
        if not job.admission:
            job.admission, job.admitted = self.line.numbered(), time.monotonic()
        job.lane = self.number
        self._running.append(job)
        self._cache.drop_tails()
        return True

    def _remember(self, job: Job, match: Match) -> None:
        """A beginning that two requests share is worth keeping for a third."""
        tokens = np.asarray(job.tokens, np.int32)
        shared_by_two = match.entry is None or match.entry.tail
        if match.length >= WORTH_SHARING and shared_by_two:
            self._cache.keep_prefix(job.seq, tokens[: match.length])
        if self.model.splittable and not job.alone and not job.preempted:
            seen = self._cache.seen_before(tokens)
            job.keep_at = seen if seen >= match.length + WORTH_SHARING else 0

    # -- one batch ---------------------------------------------------------------------------------------------

    def _fill(self) -> tuple[int, list[Output]]:
        """Write the batch, room made for it."""
        plan = self._rows.shares(self._running)
        self._cache.age(sum(count for _, count in plan))
        while not self._cache.make_room(sum(count for _, count in plan), 0):
            if not self._preempt():
                self._give_up(self._running[0])
            plan = self._rows.shares(self._running)
        return self._rows.write(plan)

    def _preempt(self) -> bool:
        """Send the youngest back to its place in the queue; false where only one is left."""
        if len(self._running) < 2:
            return False
        job = max(self._running, key=lambda j: j.order)
        self._running.remove(job)
        self._cells.close(job.seq)
        job.seq, job.computed = NOWHERE, 0
        job.preempted += 1
        self.line.join(job)
        self._held = True
        return True

    def _give_up(self, job: Job) -> None:
        self._end(job, keep=False)
        job.fail(ContextOverflow(f"The request does not fit a cache of {self._cells.capacity} tokens"))

    # -- after a decode ----------------------------------------------------------------------------------------

    def _harvest(self, outputs: list[Output]) -> None:
        for job in self._running:
            if 0 < job.keep_at <= job.computed:
                self._cache.keep_prefix(job.seq, np.asarray(job.tokens[: job.keep_at], np.int32))
                job.keep_at = 0
        for output in outputs:
            job = output.job
            try:
                if isinstance(job, Scoring):
                    self._take_score(job, output)
                elif isinstance(job, Completion):
                    self._take_token(job, output.row)
            except BackendError as error:
                self._end(job, keep=False)
                job.fail(error)
        for job in [j for j in self._running if isinstance(j, Scoring) and j.open_seqs]:
            for seq in job.open_seqs:
                self._cells.close(seq)
            job.open_seqs = []
            if len(job.rows) == len(job.branches):
                self._end(job, keep=True)
                job.finish()

    def _take_score(self, job: Scoring, output: Output) -> None:
        logits = self._context.logits(output.row).astype(np.float64)
        weights = np.exp(logits - logits.max())
        total = weights.sum()
        job.rows[output.branch] = [float(weights[ids].sum() / total) if ids else 0.0 for ids in job.spellings]

    def _take_token(self, job: Completion, row: int) -> None:
        logits = self._context.logits(row)
        token = job.sampler.next(logits)
        if job.expected is not None and self._departs(job, token, logits):
            return
        job.generated += 1
        if self.model.is_end(token):
            job.flush()
            self._finish(job, "stop")
            return
        if job.top_logprobs is not None:
            self._note_logprobs(job, token, logits)
        stopped = job.add(self.model.piece(token))
        job.tokens.append(token)
        if stopped:
            self._finish(job, "stop")
        elif job.generated >= job.limit:
            self._finish(job, "length")
        else:
            job.show(False)

    def _departs(self, job: Completion, token: int, logits: NDArray[np.float32]) -> bool:
        found = departure(self.model, job, token, logits)
        if found is None:
            return False
        self._end(job, keep=False)
        job.finish("stop", {"departure": found})
        return True

    def _note_logprobs(self, job: Completion, token: int, logits: NDArray[np.float32]) -> None:
        logprobs = log_softmax(logits)
        top = [
            (self.model.spelling(t), float(logprobs[t])) for t in likeliest(logprobs, job.top_logprobs or 0)
        ]
        job.logprobs.append((self.model.spelling(token), float(logprobs[token]), top))

    def _finish(self, job: Completion, reason: str) -> None:
        self._end(job, keep=not job.alone)
        job.finish(reason, {})

    def _end(self, job: Job, *, keep: bool) -> None:
        """Take a job out; its cells may stay as a cached tail."""
        self.line.leave(job)
        self.line.changed.notify_all()
        if job in self._running:
            self._running.remove(job)
            self._held, self._refused = False, None
            if isinstance(job, Scoring):
                for seq in job.open_seqs:
                    self._cells.close(seq)
                job.open_seqs = []
            # Tails are for those who ask one after the other; beside a batch they would only widen what every row's
            # attention must look at.
            if keep and not self.line.jobs and job.computed and self.model.splittable:
                self._cache.keep_tail(job.seq, job.tokens[: job.computed])
            else:
                self._cells.close(job.seq)
            job.seq = NOWHERE

    def _after_failure(self, code: int) -> None:
        """The cache's content is no longer certain: forget it; those who ran go back to the queue or fail."""
        running, self._running = self._running, []
        self._clear()
        self._held, self._refused = False, None
        fatal = code not in (1, 2)
        for job in running:
            job.seq, job.computed = NOWHERE, 0
            if isinstance(job, Scoring):
                job.open_seqs = []
            if fatal or len(running) == 1:
                self.line.leave(job)
                job.fail(Unavailable(f"llama.cpp could not decode (code {code})"))
            else:
                job.preempted += 1
                self.line.join(job)

    def _clear(self) -> None:
        self._cells.clear()
        self._cache.forget_all()
