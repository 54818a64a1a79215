import subprocess
import sys
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner

from client import cli

POINTS = [
    EntryPoint("score", "client.score:score", cli.GROUP),
    EntryPoint("serve", "no.such.module:serve", cli.GROUP),
    EntryPoint("other", "os:getcwd", cli.GROUP),
]


@pytest.fixture(autouse=True)
def points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: POINTS if group == cli.GROUP else [])


def test_help_lists_the_commands_without_loading_them() -> None:
    result = CliRunner().invoke(cli.group, ["--help"])
    assert result.exit_code == 0
    assert "score  Compare results with the truth: words, speakers." in result.stdout
    assert "serve  Run the server." in result.stdout, "its module does not exist: it was not loaded"


def test_a_command_is_loaded_when_it_is_called() -> None:
    assert "REF HYP" in CliRunner().invoke(cli.group, ["score", "wer", "--help"]).stdout


def test_a_broken_command_says_what_is_wrong_with_it() -> None:
    result = CliRunner().invoke(cli.group, ["serve"])
    assert result.exit_code == 1
    assert "'serve' (no.such.module:serve) cannot be loaded: ModuleNotFoundError" in result.stderr
    assert "is a builtin_function_or_method" in CliRunner().invoke(cli.group, ["other"]).stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli.group, ["sing"])
    assert result.exit_code == 2
    assert "No such command 'sing'" in result.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(cli.group, ["--version"]).stdout.startswith("chorus")


def test_the_command_line_starts_without_grpc_numpy_or_libav() -> None:
    code = "import sys, client.cli; print(sorted({'grpc', 'numpy', 'av', 'rich'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_main_is_a_click_group() -> None:
    assert isinstance(cli.group, click.Group)
