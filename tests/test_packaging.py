"""Promises about the distribution, read from pyproject.toml and the pinned requirements."""

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED_FILES = ["requirements/run.txt", "requirements/dev.txt"]


def canonical(requirement: str) -> str:
    """The name alone, as package indexes compare names."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, f"no package name in {requirement!r}"
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def pins(path: str) -> dict[str, list[str]]:
    """Package name to the lines of its entry."""
    entries: dict[str, list[str]] = {}
    for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            current = entries[canonical(line)] = [line]
        elif line.startswith("    --hash="):
            current.append(line)
    return entries


@pytest.mark.parametrize("path", PINNED_FILES)
def test_every_pin_names_one_version_and_its_hashes(path: str) -> None:
    loose = [name for name, (pin, *hashes) in pins(path).items() if "==" not in pin or not hashes]

    assert loose == []


@pytest.mark.parametrize("path", PINNED_FILES)
def test_pins_name_no_host(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")

    assert re.findall(r"\S+://\S*|--(?:extra-)?index-url.*|--trusted-host.*|--find-links.*", text) == []


def test_every_declared_dependency_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    # `make demo` draws a picture, so what it installs has the extra `plot`.
    run = {canonical(requirement) for requirement in (*PROJECT["project"]["dependencies"], *extras["plot"])}
    dev = {canonical(requirement) for requirement in extras["dev"]}

    assert run - pins("requirements/run.txt").keys() == set()
    assert (run | dev) - pins("requirements/dev.txt").keys() == set()


def test_development_and_users_get_the_same_versions() -> None:
    run, dev = pins("requirements/run.txt"), pins("requirements/dev.txt")

    assert {name: dev[name][0] for name in run} == {name: entry[0] for name, entry in run.items()}


@pytest.mark.parametrize("name", sorted(PROJECT["project"]["entry-points"]["chorus.commands"]))
def test_every_subcommand_is_a_click_command_of_that_name(name: str) -> None:
    value = PROJECT["project"]["entry-points"]["chorus.commands"][name]

    command = EntryPoint(name, value, "chorus.commands").load()

    assert isinstance(command, click.Command)
    assert command.name == name


def test_every_package_on_disk_is_installed() -> None:
    patterns = set(PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert folders - patterns <= {"benchmarks", "recipes"}


def test_every_folder_of_code_is_a_package() -> None:
    """A folder without `__init__.py` imports here, and is missing from the wheel."""
    ours = ["protos", "batcher", "speech", "engines", "server", "client"]
    folders = {path.parent for package in ours for path in (ROOT / package).rglob("*.py")}

    assert sorted(str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()) == []


def test_the_registry_of_models_is_part_of_the_package() -> None:
    stated = PROJECT["tool"]["setuptools"]["package-data"]["engines"]
    assert "pull/registry.toml" in stated
    assert all((ROOT / "engines" / path).is_file() for path in stated)
