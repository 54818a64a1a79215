"""The models a server has: each with its engines, threads, batchers and slots, and how a request finds one."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

from batcher.config import DynamicConfig
from batcher.dynamic import DynamicBatcher
from batcher.steps import StepBatcher
from engines.load import LoadedModel
from engines.recordings import OfflineItem, OfflineOutput
from engines.rescoring import RescoreItem
from engines.streaming import StepItem, StepOutput, StreamingEngine
from engines.topk import DEFAULT_CANDIDATES
from server.config import Config
from server.errors import BadRequest, StartFailed, UnknownModel
from server.lanes import Lane, Lanes
from server.rescoring import rescored, rescored_in_time, rescoring_limits
from speech.biasing.spelling import Speller
from speech.endpoint import K2_RULES, EndpointConfig
from speech.framing import Framing
from speech.search.nbest import Nbest
from speech.search.options import DEFAULT_BEAM, DEFAULT_PATHS
from speech.tokens import TokenTable
from speech.transcript import TOKEN_LEAD_MS

BACKGROUND = 5  # niceness of unary work: on full cores live streams come first, and a stream waits for its rescoring


def usable_cores() -> int:
    """Processors this process may run on: containers and taskset count, unlike os.cpu_count()."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def embedded_models() -> Path:
    """The folder of the models that come with Chorus."""
    return Path(str(files("models")))


class ServedModel:
    """One loaded model at work: its slots, its batchers, and a thread for each of its engines."""

    def __init__(
        self, loaded: LoadedModel, engines: Sequence[StreamingEngine], config: Config, stack: ExitStack
    ) -> None:
        self.loaded = loaded
        self.config = config
        self.name = loaded.description.name
        self.language = loaded.description.language
        self.tokens: TokenTable = loaded.tokens
        self.speller = Speller(loaded.tokens)
        self.lm = loaded.lm
        self.lodr = loaded.lodr
        self.sample_rate = loaded.description.fbank.sample_rate
        self._stack = stack
        # Engines beyond the first are copies of it: own graph, own thread, own slots.
        self.lanes = Lanes(
            [Lane(engine, config.streaming, self._threads(f"steps-{number}")) for number, engine in enumerate(engines)]
        )
        self.rescoring_batcher = self._rescoring_batcher()
        self.offline_batcher = self._offline_batcher()

    # --- facts

    @property
    def can_stream(self) -> bool:
        return self.loaded.streaming is not None

    @property
    def can_rescore(self) -> bool:
        return self.rescoring_batcher is not None

    @property
    def hears_anew(self) -> bool:
        """Whether the second pass encodes streams' segments itself, from their features."""
        return self.loaded.rescorer is not None and self.loaded.rescorer.hears_anew

    @property
    def is_transducer(self) -> bool:
        return self.loaded.description.transducer is not None

    @property
    def token_lead_ms(self) -> float:
        """How long before its peak a token begins."""
        return 0.0 if self.is_transducer else TOKEN_LEAD_MS

    @property
    def endpoint_rules(self) -> EndpointConfig:
        """The rules of those who ask for none: those of the project that the model comes from."""
        streaming = self.loaded.description.streaming
        is_icefall = self.is_transducer or (streaming is not None and streaming.family == "K3")
        return K2_RULES if is_icefall else EndpointConfig()

    @property
    def methods(self) -> tuple[str, ...]:
        """Decoding methods, the default first."""
        if self.is_transducer:
            return ("modified_beam_search", "greedy_search", "fast_beam_search")
        second = ("second_pass",) * (self.loaded.rescorer is not None and self.loaded.rescorer.has_second_pass)
        return second + ("attention_rescoring",) * self.can_rescore + ("ctc_prefix_beam", "ctc_greedy")

    @property
    def top_k(self) -> int:
        """Most tokens per frame that a search can be asked to consider."""
        description = self.loaded.description
        halves = (description.streaming, description.offline)
        return min((half.candidates for half in halves if half and half.candidates), default=DEFAULT_CANDIDATES)

    @property
    def rescoring_beam(self) -> int:
        """How many hypotheses are rescored for those who do not say."""
        return DEFAULT_BEAM if self.loaded.rescorer is None else self.loaded.rescorer.spec.beam_size

    @property
    def transducer_paths(self) -> int:
        """How many paths modified_beam_search keeps for those who do not say."""
        transducer = self.loaded.description.transducer
        return DEFAULT_PATHS if transducer is None else transducer.beam_size

    def check_weights(self, ctc_weight: float | None, reverse_weight: float | None) -> None:
        """Raise BadOption for weights that this model cannot rescore with."""
        if self.loaded.rescorer is not None:
            self.loaded.rescorer.check(ctc_weight, reverse_weight)

    @property
    def lm_weights(self) -> tuple[float, float] | None:
        """Weight and bonus of the model's language model, None without one."""
        return None if self.lm is None else self.loaded.lm_weights

    @property
    def has_lodr(self) -> bool:
        """Whether requests may have a bigram subtracted."""
        return self.lodr is not None

    @property
    def keeps_bonus(self) -> bool:
        """Whether rescoring leaves hotwords and language model a say."""
        return self.loaded.rescorer is None or self.loaded.rescorer.keeps_bonus

    @property
    def framing(self) -> Framing:
        assert self.loaded.streaming is not None, f"{self.name} does not stream"
        return self.loaded.streaming.framing

    @property
    def chunk_ms(self) -> int:
        """Audio time that each streaming step adds."""
        if not self.can_stream:
            return 0
        return round(self.framing.stride_frames * self.framing.fbank.frame_shift_ms)

    @property
    def encoder_frame_ms(self) -> float:
        half = self.loaded.streaming or self.loaded.offline
        assert half is not None, f"{self.name} has neither half"
        return half.frame_ms

    @property
    def max_piece_s(self) -> float:
        """The longest recording that the offline graph takes in one piece."""
        most = self.loaded.offline.max_samples if self.loaded.offline else None
        return math.inf if most is None else most / self.sample_rate

    @property
    def position_limit_frames(self) -> int | None:
        return self.loaded.streaming.position_limit_frames if self.loaded.streaming else None

    # --- work

    async def rescore(self, item: RescoreItem) -> Nbest:
        """Order one segment's n-best list by attention rescoring or second pass, on the rescorer's threads.

        It stays as it is where its turn has not come in `rescoring.max_wait_ms`; metrics count these as timed out.
        """
        assert self.rescoring_batcher is not None, f"{self.name} does not rescore"
        return await rescored_in_time(self.rescoring_batcher, item)

    async def try_rescore(self, item: RescoreItem) -> Nbest:
        """The same, but raise a BatcherError where its turn has not come in time."""
        assert self.rescoring_batcher is not None, f"{self.name} does not rescore"
        return await rescored(self.rescoring_batcher, item)

    async def recognize(self, item: OfflineItem, priority: int = 0, timeout_ms: float | None = None) -> OfflineOutput:
        """Recognise one piece of audio as a whole, on the offline engine's thread, when its turn has come."""
        assert self.offline_batcher is not None, f"{self.name} has no offline graph"
        return await self.offline_batcher.submit(item, max(1, len(item.samples)), priority, timeout_ms)

    def batchers(self) -> Iterator[tuple[str, StepBatcher[StepItem, StepOutput] | DynamicBatcher[object, object]]]:
        """Every batcher with its name."""
        for number, lane in enumerate(self.lanes):
            yield f"steps-{number}", lane.batcher
        named = {"offline": self.offline_batcher, "rescoring": self.rescoring_batcher}
        for name, batcher in named.items():
            if batcher is not None:
                yield name, batcher  # type: ignore[misc]

    # --- building

    def _rescoring_batcher(self) -> DynamicBatcher[RescoreItem, Nbest] | None:
        config = self.config.rescoring
        if self.loaded.rescorer is None:
            return None
        # Segments that end together would otherwise wait for one thread while the other processors idle.
        workers = config.workers or len(self.lanes) or 1
        return DynamicBatcher(
            self.loaded.rescorer.run,
            rescoring_limits(config, workers, self.loaded.rescorer.batch_limit),
            self._threads("rescoring", workers),
        )

    def _offline_batcher(self) -> DynamicBatcher[OfflineItem, OfflineOutput] | None:
        config = self.config.offline
        if self.loaded.offline is None:
            return None
        return DynamicBatcher(
            self.loaded.offline.run,
            DynamicConfig(
                max_batch_size=config.max_batch_size,
                preferred_batch_sizes=config.preferred_batch_sizes,
                max_queue_delay_ms=config.max_queue_delay_ms,
                max_queue_size=config.max_queue_size,
                priority_levels=config.priority_levels,
                default_priority_level=config.default_priority_level,
                default_timeout_ms=config.default_timeout_ms,
                timeout_action=config.timeout_action,
                buckets=tuple(int(seconds * self.sample_rate) for seconds in config.bucket_seconds),
            ),
            self._threads("offline", 1, BACKGROUND),
        )

    def _threads(self, role: str, count: int = 1, niceness: int = 0) -> ThreadPoolExecutor:
        executor = ThreadPoolExecutor(
            count, thread_name_prefix=f"{self.name}-{role}", initializer=_be_nice, initargs=(niceness,)
        )
        return self._stack.enter_context(executor)


def _be_nice(niceness: int) -> None:
    """Lower the calling thread's share of a full machine; Linux keeps niceness per thread."""
    if niceness and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


class Models:
    """All models of the server; loaded once, before it is ready."""

    def __init__(self, models: list[ServedModel], default: str | None) -> None:
        self._by_name = {model.name: model for model in models}
        if default is not None and default not in self._by_name:
            raise StartFailed(f"default_model {default!r} is not among the models: {', '.join(self._by_name)}")
        # None where the server has speaker models only.
        self.default = self._by_name.get(default or next(iter(self._by_name), ""))

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._by_name.values())

    def find(self, name: str, language: str, *, streaming: bool = False) -> ServedModel:
        """Return the model named `name`, or one for `language`, or the default.

        Raises UnknownModel naming what there is, and BadRequest when the model named cannot stream and has to.
        """
        fitting = [model for model in self if model.can_stream or not streaming]
        if name:
            model = self._by_name.get(name)
            if model is None:
                raise UnknownModel(f"model {name!r} is unknown; models: {_names(self)}")
            if model not in fitting:
                raise BadRequest(f"model {name!r} has no streaming graph; models that stream: {_names(fitting)}")
            return model
        candidates = [model for model in fitting if not language or _speaks(model, language)]
        if not candidates:
            wanted = "streaming " * streaming + (f"model for language_code {language!r}" if language else "model")
            known = ", ".join(sorted({model.language or "any" for model in fitting})) or "none"
            raise UnknownModel(f"no {wanted}; languages: {known}")
        return self.default if self.default is not None and self.default in candidates else candidates[0]


def _names(models: Models | list[ServedModel]) -> str:
    return ", ".join(model.name for model in models) or "none"


def _speaks(model: ServedModel, language: str) -> bool:
    """Compare primary subtags: a model for "en" serves "en-US"."""
    return not model.language or model.language.split("-")[0].lower() == language.split("-")[0].lower()


def find_models(root: Path) -> list[Path]:
    """Model folders at `root`: itself if it holds a model, else each folder in it that does, by name."""
    if not root.is_dir():
        raise StartFailed(
            f"{root}: no such folder; models are given as a folder of model folders, one model folder, or a name that "
            f"`chorus models list` shows"
        )
    if _is_model(root):
        return [root]
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and _is_model(folder))


def _is_model(folder: Path) -> bool:
    return (folder / "model.toml").is_file() or any(folder.glob("*.onnx"))
