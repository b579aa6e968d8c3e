"""Continuous batching: every step decodes one token of each running request and a piece of the waiting prompts.

Strictly first in, first out. A request is admitted when its prompt fits beside what runs, and preempted (youngest
first, to go on later with nothing lost but time) when the cache runs full all the same. All of it in one thread.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, Cancelled, ContextOverflow, Unavailable
from .cells import Cells
from .jobs import NOWHERE, Completion, Job, Scoring
from .native import Context, Model
from .prefixes import WORTH_SHARING, Match, PrefixCache, common
from .replaying import departure
from .sampling import likeliest, log_softmax
from .sizing import SUFFIXES, Plan

_AHEAD = 64
"""Cells kept in mind for each running request when another is admitted."""


@dataclass(frozen=True, slots=True)
class Output:
    """A row whose logits were asked for: whose, and, of a scoring, of which branch."""

    row: int
    job: Job
    branch: int = -1


class Engine:
    """Runs jobs on one context. `submit`, `cancel` and `step` are called from the same thread."""

    def __init__(self, model: Model, context: Context, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self._context = context
        self._cells = Cells(context.capacity, context.n_seq_max, context)
        self._cache = PrefixCache(self._cells)
        self._waiting: list[tuple[int, Job]] = []
        self._running: list[Job] = []
        self._jobs: dict[int, Job] = {}
        self._held = False
        self._admissions = 0

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def submit(self, job: Job) -> None:
        """Queue a job behind those that came before."""
        self._jobs[job.id] = job
        heapq.heappush(self._waiting, (job.order, job))

    def cancel(self, job_id: int) -> None:
        """Give a job up at the next step; unknown ids are ignored."""
        if job := self._jobs.get(job_id):
            job.cancelled = True

    def step(self) -> None:
        """Admit, decode once, hand out what came of it."""
        self._drop_cancelled()
        self._admit()
        rows, outputs = self._fill()
        if not rows:
            return
        code = self._context.decode(rows)
        if code == 0:
            self._harvest(outputs)
        else:
            self._after_failure(code)

    # -- admission ---------------------------------------------------------------------------------------------

    def _drop_cancelled(self) -> None:
        gone = [job for job in self._jobs.values() if job.cancelled]
        for job in gone:
            self._end(job, keep=False)
            job.fail(Cancelled("The request was cancelled"))
        if gone:
            self._waiting = [item for item in self._waiting if not item[1].cancelled]
            heapq.heapify(self._waiting)

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self.plan.parallel and not self._held:
            job = self._waiting[0][1]
            if self._running and (job.alone or self._running[0].alone):
                return
            if job.alone:
                self._clear()
            match = self._source(job)
            if match is None or not self._place(job, match):
                return
            heapq.heappop(self._waiting)

    def _source(self, job: Job) -> Match | None:
        """Where the job's beginning can be copied from; None: a running job is just computing it, wait for it."""
        tokens = np.asarray(job.tokens, np.int32)
        most = len(tokens) - (0 if isinstance(job, Scoring) else 1)
        best = Match(NOWHERE, 0)
        if not self.model.splittable or job.alone:
            return best
        cached = self._cache.find(tokens)
        if cached:
            best = Match(cached.seq, min(cached.length, most), cached.entry)
        for other in self._running:
            shared = min(common(np.asarray(other.tokens, np.int32), tokens), most)
            if shared < best.length + WORTH_SHARING:
                continue
            if shared > other.computed + WORTH_SHARING:
                return None
            ready = min(shared, other.computed)
            if ready > best.length:
                best = Match(other.seq, ready)
        return best

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
            self._admissions += 1
            job.admission, job.admitted = self._admissions, time.monotonic()
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
        """Write the batch: first one row for each request that is generating, then prompts, oldest first."""
        plan = self._shares()
        while not self._cache.make_room(sum(count for _, count in plan), 0):
            if not self._preempt():
                self._give_up(self._running[0])
            plan = self._shares()
        outputs: list[Output] = []
        row = 0
        for job, count in plan:
            if isinstance(job, Scoring):
                row = self._put_scoring(job, count, row, outputs)
            else:
                row = self._put(job, count, row, outputs)
        if row:
            for output in outputs:
                output.job.neighbours = max(output.job.neighbours, len(plan) - 1)
        return row, outputs

    def _shares(self) -> list[tuple[Job, int]]:
        """Who gets how many rows of this batch."""
        plan: list[tuple[Job, int]] = []
        ready = [j for j in self._running if isinstance(j, Completion) and j.missing == 1]
        room = self._context.n_batch - len(ready)
        outputs = self.plan.parallel + SUFFIXES - len(ready)
        branches = SUFFIXES
        plan += [(job, 1) for job in ready]
        for job in self._running:
            if room <= 0 or outputs <= 0:
                break
            if isinstance(job, Scoring):
                count = self._scoring_rows(job, room, branches)
                outputs -= len(job.branches)
                branches -= len(job.branches)
            elif job.missing > 1:
                count = min(job.missing, room)
                outputs -= 1
            else:
                continue
            if count:
                plan.append((job, count))
                room -= count
                if isinstance(job, Scoring) and self.plan.gpu_layers == 0:
                    break  # On a CPU every row looks over the cells of all: two pairs at once are slower than in turn.
        return plan

    @staticmethod
    def _scoring_rows(job: Scoring, room: int, ids: int) -> int:
        """Rows of a scoring: the rest of the beginning with all branches if that fits, else a piece."""
        left = [b for n, b in enumerate(job.branches) if n not in job.rows]
        branches = sum(len(b) for b in left)
        if job.missing + branches <= room and len(left) <= ids:
            return job.missing + branches
        if job.missing:
            return min(job.missing, room)
        count = 0
        for n, branch in enumerate(left):
            if count + len(branch) > room or n >= ids:
                break
            count += len(branch)
        return count

    def _put(self, job: Job, count: int, row: int, outputs: list[Output]) -> int:
        piece = job.tokens[job.computed : job.computed + count]
        self._cells.grow([job.seq], count)
        last = count == job.missing and isinstance(job, Completion)
        row = self._context.batch.put(row, piece, job.computed, [job.seq], last)
        job.computed += count
        if last:
            outputs.append(Output(row - 1, job))
        return row

    def _put_scoring(self, job: Scoring, count: int, row: int, outputs: list[Output]) -> int:
        """Where everything fits, the beginning's rows carry the ids of all branches: one decode for all of it."""
        if count < job.missing or (count == job.missing and count):
            return self._put(job, count, row, outputs)
        todo = [n for n in range(len(job.branches)) if n not in job.rows]
        taken: list[int] = []
        left = count - job.missing
        for n in todo:
            if len(job.branches[n]) > left:
                break
            left -= len(job.branches[n])
            taken.append(n)
        seqs = [self._cells.open() for _ in taken]
        for seq in seqs:
            self._cells.share(job.seq, seq, job.computed)
        position = job.computed
        if job.missing:
            size = job.missing
            self._cells.grow([job.seq, *seqs], size)
            row = self._context.batch.put(row, job.tokens[position:], position, [job.seq, *seqs], False)
            job.computed += size
        for n, seq in zip(taken, seqs, strict=True):
            branch = job.branches[n]
            self._cells.grow([seq], len(branch))
            row = self._context.batch.put(row, branch, len(job.tokens), [seq], True)
            outputs.append(Output(row - 1, job, n))
        job.open_seqs = seqs
        return row

    def _preempt(self) -> bool:
        """Send the youngest back to its place in the queue; false where only one is left."""
        if len(self._running) < 2:
            return False
        job = max(self._running, key=lambda j: j.order)
        self._running.remove(job)
        self._cells.close(job.seq)
        job.seq, job.computed = NOWHERE, 0
        job.preempted += 1
        heapq.heappush(self._waiting, (job.order, job))
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
        self._jobs.pop(job.id, None)
        if job in self._running:
            self._running.remove(job)
            self._held = False
            if isinstance(job, Scoring):
                for seq in job.open_seqs:
                    self._cells.close(seq)
                job.open_seqs = []
            # Tails are for those who ask one after the other; beside a batch they would only widen what every row's
            # attention must look at.
            if keep and not self._jobs and job.computed and self.model.splittable:
                self._cache.keep_tail(job.seq, job.tokens[: job.computed])
            else:
                self._cells.close(job.seq)
            job.seq = NOWHERE

    def _after_failure(self, code: int) -> None:
        """The cache's content is no longer certain: forget it; those who ran go back to the queue or fail."""
        running, self._running = self._running, []
        self._clear()
        self._held = False
        fatal = code not in (1, 2)
        for job in running:
            job.seq, job.computed = NOWHERE, 0
            if isinstance(job, Scoring):
                job.open_seqs = []
            if fatal or len(running) == 1:
                self._jobs.pop(job.id, None)
                job.fail(Unavailable(f"llama.cpp could not decode (code {code})"))
            else:
                job.preempted += 1
                heapq.heappush(self._waiting, (job.order, job))

    def _clear(self) -> None:
        self._cells.clear()
        self._cache.forget_all()
