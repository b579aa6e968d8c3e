"""A whole generate run against a real OpenAI-compatible server: llama-cpp-python's own, with a model made here."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pairsmith.backends.registry import Settings
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.limits import Limits

from .brains import fresh_instruction
from .generation import end_of, instructions, make_workspace
from .servers.llama_server import running_llama_server
from .tiny_gguf import make_markov_gguf


async def test_a_real_server_with_a_real_model_gives_the_quota(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    rng = random.Random(1)
    text = "\n".join(" ".join(fresh_instruction(rng).split()[:6]) for _ in range(60))
    model = make_markov_gguf(tmp_path / "babbler.gguf", text, end=0.3)
    with running_llama_server(model, "--n_ctx", "1024", "--model_alias", "babbler") as url:
        settings = Settings.from_environment({"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none"})
        with make_workspace(tmp_path, generator="openai:babbler", topics=("One",)) as workspace:
            options = GenerateOptions(limits=Limits(calls=300))
            job = GenerateJob(workspace, GenerateSettings(5), settings, options)
            ended, ledger = end_of([event async for event in job.events()])
            assert (ended.state, ledger.kept, ledger.balance()) == ("done", 5, []), ended.reason
            assert len(set(instructions(workspace))) == 5
