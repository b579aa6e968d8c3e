"""The user's own defaults: read, written without losing a comment, and in their place in the order of precedence."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.backends.llama_cpp.options import options_from
from pairsmith.cli.main import main
from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.workspace import open_workspace
from pairsmith.pairs.surroundings import present_generator, present_judge, read_surroundings
from pairsmith.pairs.user_settings import UserSettings, read_user_settings, save_user_settings, settings_path


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"PAIRSMITH_HOME": str(tmp_path / "home")}


def test_without_a_file_nothing_is_set(env: dict[str, str]) -> None:
    assert read_user_settings(env) == UserSettings()


def test_what_is_saved_is_read_and_the_rest_of_the_file_stays(env: dict[str, str]) -> None:
    path = settings_path(env)
    path.parent.mkdir()
    path.write_text('# mine\ntheme = "dark"  # at night\njudge = "nim:a/b"\n\n[keys]\naccept = "y"\n')
    save_user_settings(env, generator='openai:a"b', judge=None)
    text = path.read_text()
    for kept in ("# mine", 'theme = "dark"  # at night', '[keys]\naccept = "y"'):
        assert kept in text
    assert read_user_settings(env) == UserSettings(generator='openai:a"b')
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_made_where_there_is_none(env: dict[str, str]) -> None:
    save_user_settings(env, judge="ollama:llama3.2:3b")
    assert read_user_settings(env).judge == "ollama:llama3.2:3b"


@pytest.mark.parametrize(
    "text",
    [
        "generator = 5",
        "reproducible = 1",
        'generator = ""',
        "generator = ",
        'judge = "nonsense:x"',
        'judge = "nim"',
        "\x00",
    ],
)
def test_a_file_that_cannot_be_used_is_named(text: str, env: dict[str, str]) -> None:
    path = settings_path(env)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        read_user_settings(env)
    with pytest.raises(UsageError, match=r"settings\.toml"):
        save_user_settings(env, judge="nim:a")
    assert path.read_text() == text


def test_reproducible_answers_can_be_the_default(env: dict[str, str]) -> None:
    assert not read_surroundings(env).settings.reproducible
    save_user_settings(env, reproducible=True)
    assert settings_path(env).read_text() == "reproducible = true\n"
    settings = read_surroundings(env).settings
    assert options_from(settings, env).reproducible
    assert not options_from(settings, {"PAIRSMITH_LLAMA_REPRODUCIBLE": "0"}).reproducible


def test_the_workspace_goes_before_the_user_and_the_user_before_the_embedded_model(
    tmp_path: Path, env: dict[str, str]
) -> None:
    path = tmp_path / "w.pairsmith"
    assert main(["new", str(path), "--domain", "git"]) == 0
    with open_workspace(path) as workspace:

        def present() -> tuple[str, str | None]:
            around = read_surroundings(env, workspace)
            return present_generator(workspace, around), present_judge(workspace, around)

        assert present() == ("llama-cpp:embedded", None)
        save_user_settings(env, generator="ollama:mine", judge="ollama:judge")
        assert present() == ("ollama:mine", "ollama:judge")
        workspace.write(lambda conn: set_meta(conn, "generator", "nim:a/b"))
        workspace.write(lambda conn: set_meta(conn, "judge", "nim:c/d"))
        assert present() == ("nim:a/b", "nim:c/d")


def test_an_address_out_of_a_workspace_is_not_trusted_with_a_key(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "w.pairsmith"
    assert main(["new", str(path), "--domain", "git"]) == 0
    with open_workspace(path) as workspace:
        workspace.write(lambda conn: set_meta(conn, "base_url", "https://stranger.example/v1"))
        around = read_surroundings(env, workspace)
        assert (around.settings.base_url, around.settings.base_url_trusted) == (
            "https://stranger.example/v1",
            False,
        )
        asked = read_surroundings(env, workspace, "https://mine.example/v1")
        assert (asked.settings.base_url, asked.settings.base_url_trusted) == ("https://mine.example/v1", True)
        save_user_settings(env, base_url="https://users.example/v1")
        users = read_surroundings(env, workspace)
        assert (users.settings.base_url, users.settings.base_url_trusted) == (
            "https://users.example/v1",
            True,
        )
