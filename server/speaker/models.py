"""The speaker models a server has, each at work: its engine, its batcher and threads, and the voice activity model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog

from batcher.dynamic import DynamicBatcher
from engines.errors import BadModel
from engines.ort import OrtOptions
from engines.segmentation.interface import Segmentation
from engines.segmentation.pyannote import PyannoteSegmentation
from engines.speaker.describe import inspect_speaker
from engines.speaker.description import SpeakerDescription
from engines.speaker.engine import Embedder, open_speaker
from engines.vad.interface import VoiceActivity
from engines.vad.silero import SileroVad
from server.bulk import Bulk
from server.config import Config, SpeakerConfig
from server.discovery import Folders
from server.errors import StartFailed, UnknownModel
from server.gallery.store import Space
from server.speaker.batching import PieceBatcher, PieceVector
from speech.audio import Samples
from speech.verification.pieces import TAIL_S

WARM_UP_FRAMES = (98, 148, 198, 298)  # 1, 1.5, 2 and 3 s: the lengths that queries and diarization ask for

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Helpers:
    """The models that all speaker models share, where there are any."""

    vad: VoiceActivity | None
    segmentation: Segmentation | None

    def named(self) -> dict[str, bool]:
        """What there is, for the log."""
        return {"vad": self.vad is not None, "segmentation": self.segmentation is not None}


class ServedSpeaker:
    """One speaker model at work. `engine` may be called on any thread; `embed` goes through the batcher."""

    def __init__(
        self,
        engine: Embedder,
        config: SpeakerConfig,
        workers: ThreadPoolExecutor,
        num_workers: int,
        *,
        description: SpeakerDescription | None = None,
        vad: VoiceActivity | None = None,
        segmentation: Segmentation | None = None,
    ) -> None:
        self.engine = engine
        self.config = config
        self.family = "" if description is None else description.family
        self.vad = vad if vad is not None and vad.sample_rate == engine.sample_rate else None
        self.segmentation = segmentation if self.vad is not None else None
        fixed = None if description is None else description.fixed_frames
        # The longest piece of audio that becomes one vector, and the shortest that is cut from longer audio. A graph of
        # one length gets its pieces nearly whole: what they lack is repeated.
        self.window_s = config.window_s if fixed is None else _samples(engine, fixed) / engine.sample_rate
        self.tail_s = TAIL_S if fixed is None else engine.min_samples / engine.sample_rate
        self._bulk = Bulk(config.max_queue_size)
        self.pieces = PieceBatcher(engine, config, workers, num_workers, fixed)

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def sample_rate(self) -> int:
        return self.engine.sample_rate

    @property
    def space(self) -> Space:
        """What this model's vectors are comparable with."""
        return Space(self.engine.fingerprint, self.engine.name, self.engine.dimension)

    async def embed_of_long(self, samples: Samples) -> PieceVector:
        """Embed one piece of a recording, which waits where single requests fill the queue: hours must not be lost.

        Raises as PieceBatcher.embed does, but never Overloaded.
        """
        return await self._bulk.run(lambda: self.pieces.embed(samples))

    def batchers(self) -> Iterator[tuple[str, DynamicBatcher[Any, Any]]]:
        """Every batcher with its name."""
        yield "embedding", self.pieces.batcher


class SpeakerModels:
    """All speaker models of the server; may be none."""

    def __init__(self, models: Sequence[ServedSpeaker], default: str | None = None) -> None:
        self._by_name = {model.name: model for model in models}
        if default is not None and default not in self._by_name:
            known = ", ".join(self._by_name) or "none"
            raise StartFailed(f"speaker.default_model {default!r} is not among the speaker models: {known}")
        self._default = default or next(iter(self._by_name), None)

    def __iter__(self) -> Iterator[ServedSpeaker]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def is_default(self, model: ServedSpeaker) -> bool:
        """Whether requests that name no model get this one."""
        return model.name == self._default

    def find(self, name: str) -> ServedSpeaker:
        """Return the model named, or the default. Raises UnknownModel naming what there is."""
        wanted = name or self._default
        if wanted is None:
            raise UnknownModel("this server has no speaker model; `chorus models pull campplus` fetches one")
        if wanted not in self._by_name:
            raise UnknownModel(
                f"speaker model {name!r} is unknown; speaker models: {', '.join(self._by_name) or 'none'}"
            )
        return self._by_name[wanted]


def load_speakers(folders: Folders, config: Config, threads: int, stack: ExitStack) -> SpeakerModels:
    """Load and warm up the speaker models of `folders`, and those that serve all of them; blocks.

    Raises BadModel, StartFailed.

    Every model runs on `speaker.workers` threads (or `threads`), one thread inside a graph: on processors several small
    runs side by side beat one large batch.
    """
    descriptions = [inspect_speaker(folder) for folder in folders.speakers]
    if not descriptions:
        return SpeakerModels([], config.speaker.default_model)
    helpers = Helpers(
        vad=None if folders.vad is None else SileroVad(folders.vad),
        segmentation=None if folders.segmentation is None else PyannoteSegmentation(folders.segmentation),
    )
    num_workers = config.speaker.workers or threads
    served: list[ServedSpeaker] = []
    for description in descriptions:
        if any(model.name == description.name for model in served):
            raise BadModel(
                f"{description.folder}: a second speaker model named {description.name!r}; rename one of them"
            )
        served.append(_served(description, helpers, config, num_workers, stack))
        log.info("speaker model loaded", model=description.name, folder=str(description.folder), **helpers.named())
    return SpeakerModels(served, config.speaker.default_model)


def _served(
    description: SpeakerDescription, helpers: Helpers, config: Config, workers: int, stack: ExitStack
) -> ServedSpeaker:
    options = OrtOptions(intra_threads=1, provider=config.engine.provider, rewrite=config.engine.rewrite_graphs)
    engine = open_speaker(description, options, max_batch=config.speaker.max_batch_size)
    log.info("speaker network", model=description.name, runs_in=engine.network)
    fixed = description.fixed_frames
    engine.warm_up([fixed] if fixed else WARM_UP_FRAMES)
    threads = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix=f"{description.name}-embedding"))
    return ServedSpeaker(
        engine,
        config.speaker,
        threads,
        workers,
        description=description,
        vad=helpers.vad,
        segmentation=helpers.segmentation,
    )


def _samples(engine: Embedder, frames: int) -> int:
    """The samples that give `frames` feature frames."""
    return engine.front_end.config.num_samples(frames)
