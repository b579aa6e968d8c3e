"""Rewriting an instruction that breaks a rule which can be mended, once, by the model (`--refine`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pairsmith.backends.protocol import Capabilities, Completion, Request

from .calling import Answered
from .mending import mend_of
from .methods import Tools
from .store.candidates import Candidate
from .topic_tree import read_list, stage_request


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A rewriting whose call is still open; `text` is empty where the model gave none."""

    answered: Answered[Completion]
    text: str


async def rewrite(tools: Tools, candidate: Candidate) -> Rewriting:
    """Ask for the instruction anew. Raises BackendError, JobStopped, LimitReached."""
    values = {
        "domain": tools.domain,
        "language": tools.recipe.language,
        "instruction": candidate.instruction,
        "problem": mend_of(candidate) or "",
    }

    def make(capabilities: Capabilities) -> Request:
        request = stage_request(tools.recipe.rewrite, values)
        if capabilities.chat:
            return request
        return replace(request, messages=(), prompt=f"{request.messages[-1].content}\n\nTask:", stop=("\n",))

    answered = await tools.ask(make, purpose="rewrite", subject=str(candidate.id))
    if answered.answer.finish_reason == "length":
        return Rewriting(answered, "")
    parsed = read_list(answered.answer, 1)
    text = parsed.items[0] if parsed.items else ""
    return Rewriting(answered, text.removeprefix("Task:").strip())
