"""Hotwords of requests and of the server's own lists, compiled for a model, shared by streams that want the same."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from server.config import HotwordsSettings
from server.errors import BadRequest, StartFailed
from server.options import DecodingOptions, HotwordsRequest, RecognitionOptions
from speech.biasing import Bias, ContextGraph, FittedLm, Lodr, build_graph
from speech.biasing.context_graph import MAX_PHRASE_TOKENS
from speech.biasing.spelling import Speller
from speech.errors import BadOption
from speech.hotwords import MAX_FILE_BYTES, Hotword, parse_hotwords

SUFFIX = ".txt"
RECENT = 32
"""Compiled lists kept beyond their last stream's end: the next call of the same customer wants the same."""

log = structlog.get_logger()


class BiasedModel(Protocol):
    """What is asked of a model."""

    @property
    def name(self) -> str: ...
    @property
    def speller(self) -> Speller: ...
    @property
    def lm(self) -> FittedLm | None: ...
    @property
    def lodr(self) -> Lodr | None: ...


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CompiledHotwords:
    """A list for one model: its graph, how many phrases that is, and those that the model's tokens cannot write."""

    graph: ContextGraph
    num_hotwords: int
    unspellable: tuple[str, ...]


class Hotwords:
    """Owned by the server's app. Lists are read and compiled on `executor`, which must have one thread."""

    def __init__(self, settings: HotwordsSettings, executor: Executor) -> None:
        """Read every list once. Raises StartFailed naming a list that cannot be used."""
        self._settings = settings
        self._executor = executor
        self._lists = NamedLists(Path(settings.folder)) if settings.folder else None
        self._living: WeakValueDictionary[bytes, CompiledHotwords] = WeakValueDictionary()
        self._recent: OrderedDict[bytes, CompiledHotwords] = OrderedDict()
        # A search asks each bias once a frame for all streams that have it.
        self._biases: WeakValueDictionary[tuple[object, ...], Bias] = WeakValueDictionary()

    async def apply(
        self, model: BiasedModel, options: RecognitionOptions
    ) -> tuple[RecognitionOptions, CompiledHotwords | None]:
        """Return `options` with what its search adds, and what became of the hotwords if there were any.

        Raises BadRequest for an unknown list, too many phrases, or a boost out of range.
        """
        decoding = options.decoding
        compiled = None
        if decoding.hotwords is not None:
            loop = asyncio.get_running_loop()
            compiled = await loop.run_in_executor(self._executor, self._compiled, model, decoding.hotwords)
        lm = model.lm if decoding.use_lm else None
        if compiled is None and lm is None:
            return options, None
        bias = self._bias(compiled.graph if compiled else None, lm, model.lodr, decoding)
        return replace(options, decoding=replace(decoding, bias=bias)), compiled

    def _bias(
        self, graph: ContextGraph | None, lm: FittedLm | None, lodr: Lodr | None, decoding: DecodingOptions
    ) -> Bias:
        """Return the one that streams with the same list and weights have already, or a new one."""
        lodr = lodr if decoding.lodr_weight else None
        # What a living bias was made of is alive as well, so that nothing else can have its id.
        key = (id(graph), id(lm), id(lodr), decoding.lm_weight, decoding.lm_bonus, decoding.lodr_weight)
        bias = self._biases.get(key)
        if bias is None:
            bias = self._biases[key] = Bias(
                graph,
                lm,
                lm_weight=decoding.lm_weight,
                lm_bonus=decoding.lm_bonus,
                lodr=lodr,
                lodr_weight=decoding.lodr_weight,
            )
        return bias

    def _compiled(self, model: BiasedModel, request: HotwordsRequest) -> CompiledHotwords:
        """On the executor's thread, the only one that touches the caches."""
        hotwords = list(request.hotwords)
        for name in request.lists:
            hotwords += self._named(name)
        if len(hotwords) > self._settings.max_phrases:
            raise BadRequest(
                f"{len(hotwords)} hotwords; this server allows {self._settings.max_phrases} (hotwords.max_phrases)"
            )
        key = _digest(model.name, request, hotwords)
        compiled = self._living.get(key) or compile_hotwords(model.speller, request, hotwords)
        self._living[key] = self._recent[key] = compiled
        self._recent.move_to_end(key)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return compiled

    def _named(self, name: str) -> Sequence[Hotword]:
        if self._lists is None:
            raise BadRequest(f"hotwords list {name!r} is unknown: this server has no lists (hotwords.folder)")
        return self._lists.get(name)


def compile_hotwords(speller: Speller, request: HotwordsRequest, hotwords: Sequence[Hotword]) -> CompiledHotwords:
    """Spell and compile; phrases that cannot be spelled, or that have too many tokens, are left out and named."""
    phrases, boosts, unspellable = [], [], []
    for hotword in hotwords:
        ids = speller.spell(hotword.phrase, request.unit)
        if ids and len(ids) <= MAX_PHRASE_TOKENS:
            phrases.append(ids)
            boosts.append(request.boost if hotword.boost is None else hotword.boost)
        else:
            unspellable.append(hotword.phrase)
    return CompiledHotwords(build_graph(phrases, boosts), len(phrases), tuple(unspellable))


def _digest(model: str, request: HotwordsRequest, hotwords: Sequence[Hotword]) -> bytes:
    digest = hashlib.blake2b(f"{model}\0{request.unit}\0{request.boost!r}".encode(), digest_size=16)
    for hotword in hotwords:
        digest.update(f"\0{hotword.phrase}\0{hotword.boost!r}".encode())
    return digest.digest()


class NamedLists:
    """The lists of a folder, `NAME.txt` each; read again whenever the file has changed, new ones when asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises StartFailed for a folder that is none and for lists that cannot be used."""
        if not folder.is_dir():
            raise StartFailed(f"hotwords.folder {folder}: no such folder")
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], list[Hotword]]] = {}
        for name in self._names():
            try:
                self._load(name)
            except (BadOption, OSError, UnicodeDecodeError) as error:
                raise StartFailed(f"hotwords list {name!r}: {error}") from error

    def get(self, name: str) -> list[Hotword]:
        """Return the list as its file now is, or as it was while that cannot be used. Raises BadRequest: unknown."""
        names = self._names()
        for gone in self._read.keys() - names:  # folders change for months: what was deleted must not be kept
            del self._read[gone]
        if name not in names:
            raise BadRequest(f"hotwords list {name!r} is unknown; lists: {', '.join(sorted(names)) or 'none'}")
        try:
            self._load(name)
        except (BadOption, OSError, UnicodeDecodeError) as error:
            log.error("hotwords list not reloaded", list=name, error=str(error))
            if name not in self._read:
                raise BadRequest(f"hotwords list {name!r} cannot be used; the server's log says why") from error
        return self._read[name][1]

    def _names(self) -> set[str]:
        return {path.stem for path in self._folder.glob("*" + SUFFIX)}

    def _load(self, name: str) -> None:
        path = self._folder / (name + SUFFIX)
        stat = path.stat()
        version = (stat.st_mtime_ns, stat.st_size)
        if name in self._read and self._read[name][0] == version:
            return
        if stat.st_size > MAX_FILE_BYTES:
            raise BadOption(f"{stat.st_size} bytes; allowed are {MAX_FILE_BYTES}")
        with path.open(encoding="utf-8") as lines:
            self._read[name] = version, parse_hotwords(lines, path.name)
        log.info("hotwords list read", list=name, phrases=len(self._read[name][1]))
