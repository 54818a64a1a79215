"""Files from their publishers' addresses, by pooch: checked, and moved into place only when they are whole."""

from __future__ import annotations

import logging
from pathlib import Path

import pooch

from engines.errors import PullFailed
from engines.pull.package_index import sha256_of
from engines.pull.registry import RemoteFile

_TIMEOUT_S = 60


def download_file(file: RemoteFile, folder: Path) -> str:
    """Download one file into `folder` and return its sha256. Raises PullFailed naming address and reason."""
    pooch.get_logger().setLevel(logging.ERROR)  # our own messages say what is fetched
    known = None if file.sha256 is None else f"sha256:{file.sha256}"
    downloader = pooch.HTTPDownloader(timeout=_TIMEOUT_S)
    try:
        path = pooch.retrieve(file.url, known, fname=file.name, path=folder, downloader=downloader)
    except Exception as error:  # pooch, requests and urllib3 share no base
        raise PullFailed(f"{file.url} could not be fetched: {_reason(error)}") from error
    found = Path(path)
    if file.bytes is not None and found.stat().st_size != file.bytes:
        raise PullFailed(f"{file.url} gave {found.stat().st_size} bytes, {file.bytes} are expected")
    return sha256_of(found)


def _reason(error: Exception) -> str:
    """Say in a line what went wrong; requests wraps the cause in several others."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
