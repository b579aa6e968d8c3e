"""What goes into the next batch of a lane: a token of each running request, and a piece of the waiting prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .cells import Cells
from .jobs import Completion, Job, Scoring
from .native import Context
from .sizing import SUFFIXES, Plan


@dataclass(frozen=True, slots=True)
class Output:
    """A row whose logits were asked for: whose, and, of a scoring, of which branch."""

    row: int
    job: Job
    branch: int = -1


class Rows:
    """Writes the batch of one context, and books its cells."""

    def __init__(self, context: Context, cells: Cells, plan: Plan) -> None:
        self._context, self._cells, self._plan = context, cells, plan

    def shares(self, running: Sequence[Job]) -> list[tuple[Job, int]]:
        """Who gets how many rows of this batch: those that generate first, then prompts, oldest first."""
        plan: list[tuple[Job, int]] = []
        ready = [j for j in running if isinstance(j, Completion) and j.missing == 1]
        room = self._context.n_batch - len(ready)
        outputs = self._plan.parallel + SUFFIXES - len(ready)
        branches = SUFFIXES
        plan += [(job, 1) for job in ready]
        for job in running:
            if room <= 0 or outputs <= 0:
                break
            if isinstance(job, Scoring):
                count = _scoring_rows(job, room, branches)
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
                if isinstance(job, Scoring) and self._plan.gpu_layers == 0:
                    break  # On a CPU every row looks over the cells of all: two pairs at once are slower than in turn.
        return plan

    def write(self, plan: list[tuple[Job, int]]) -> tuple[int, list[Output]]:
        """Fill the batch; how many rows, and which of them give logits. Needs the cells to be free."""
        outputs: list[Output] = []
        row = 0
        for job, count in plan:
            if isinstance(job, Scoring):
                row = self._put_scoring(job, count, row, outputs)
            else:
                row = self._put(job, count, row, outputs)
        for output in outputs:
            output.job.neighbours = max(output.job.neighbours, len(plan) - 1)
        return row, outputs

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
