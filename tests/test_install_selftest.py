"""The self-test of llama.cpp passes here, and reports a build that dies, lies or is not there."""

from __future__ import annotations

import sys
from pathlib import Path

import make_selftest_gguf as maker
import pytest

from pairsmith.backends.llama_cpp import selftest
from tests import fake_pip


@pytest.fixture
def another_llama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `llama_cpp` that the child finds before the installed one."""
    package = tmp_path / "llama_cpp" / "__init__.py"
    package.parent.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return package


def test_the_installed_llama_passes() -> None:
    assert selftest.run_selftest(120) == selftest.SelfTest(
        True, "llama.cpp decodes the self-test model rightly"
    )


def test_a_build_that_dies_is_one_line_and_not_the_end_of_us(another_llama: Path) -> None:
    another_llama.write_text(fake_pip.DIES)
    result = selftest.run_selftest(120)
    assert not result.ok
    assert result.message.startswith("llama.cpp died of SIGSEGV in its self-test")


def test_a_build_that_computes_wrongly_is_found_out(another_llama: Path) -> None:
    another_llama.write_text(fake_pip.WRONG)
    result = selftest.run_selftest(120)
    assert not result.ok
    assert "computes wrongly on this CPU" in result.message


def test_a_build_that_hangs_is_given_up(another_llama: Path) -> None:
    another_llama.write_text("import time\ntime.sleep(60)\n")
    result = selftest.run_selftest(0.5)
    assert result == selftest.SelfTest(False, "llama.cpp did not finish its self-test within 0.5 s")


def test_a_missing_package_is_named(another_llama: Path) -> None:
    another_llama.write_text("raise ModuleNotFoundError(\"No module named 'llama_cpp'\")\n")
    result = selftest.run_selftest(120)
    assert not result.ok
    assert "No module named 'llama_cpp'" in result.message


def test_the_model_is_what_its_tool_writes_and_small() -> None:
    shipped = selftest.MODEL.read_bytes()
    assert shipped == maker.gguf(maker.SEED)
    assert len(shipped) < 200_000


def test_the_expected_tokens_are_those_of_plain_float64_with_a_wide_lead() -> None:
    lead, chosen = maker.greedy(maker.SEED)
    assert (maker.PROMPT, chosen) == (selftest.PROMPT, selftest.EXPECTED)
    assert lead > 0.3


def test_the_child_runs_by_its_module_name() -> None:
    import subprocess

    command = [sys.executable, "-P", "-m", "pairsmith.backends.llama_cpp.selftest"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "llama.cpp decodes the self-test model rightly\n")
