"""From folders to models at work: checked, loaded side by side where that saves time, and warmed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import structlog
from threadpoolctl import threadpool_limits

from engines.describe import inspect
from engines.description import ModelDescription
from engines.errors import BadModel
from engines.language_model import read_lm
from engines.load import EngineOptions, LoadedModel, load, load_streaming, with_lm, with_lodr
from engines.sidefiles import read_tokens
from engines.streaming import StreamingEngine
from server.config import Config
from server.discovery import discover
from server.errors import StartFailed
from server.models import Models, ServedModel, usable_cores
from server.speaker.models import SpeakerModels, load_speakers

DEFAULT_LANES = 2  # measured on 2 cores (docs/benchmarks.md); more need more processors than an interpreter can feed
WARM_UP_BATCHES = (1, 2)  # compiles the search; larger batches reuse what these allocated

log = structlog.get_logger()


def load_served(config: Config, stack: ExitStack) -> tuple[Models, SpeakerModels]:
    """Load and warm up whatever the settings name, recognisers and speaker models side by side; blocks for seconds.

    Engines and threads are closed by `stack`. Raises StartFailed or BadModel saying which folder is wrong and why;
    where both kinds are wrong, what is wrong with the recognisers.
    """
    folders = discover(config)
    threads = config.engine.threads or usable_cores()
    # The features' small products lose far more to the spinning threads of numpy's BLAS than they gain: 12 ms instead
    # of 0.3 ms a chunk, measured on 2 cores.
    threadpool_limits(1, user_api="blas")
    ends = stack.enter_context(ExitStack()), stack.enter_context(ExitStack())  # one for each thread
    with ThreadPoolExecutor(1, thread_name_prefix="load-speakers") as beside:
        speakers = beside.submit(load_speakers, folders, config, threads, ends[1])
        return load_models(folders.recognisers, config, threads, ends[0]), speakers.result()


def load_models(folders: Iterable[Path], config: Config, threads: int, stack: ExitStack) -> Models:
    """Check, load and warm up the recognisers in `folders`, one after the other, with all `threads` for each.

    Raises StartFailed or BadModel, as soon as the threads that read beside have ended.
    """
    num_lanes = config.engine.lanes or min(DEFAULT_LANES, threads)
    options = _options(config, threads, num_lanes)
    served: list[ServedModel] = []
    misfits: list[str] = []
    lodr_misfits: list[str] = []
    with ThreadPoolExecutor(num_lanes, thread_name_prefix="load") as beside:
        language_models = beside.submit(_read_language_models, config)
        for folder in folders:
            description = inspect(folder)
            if any(model.name == description.name for model in served):
                raise BadModel(
                    f"{folder}: a second model named {description.name!r}; give one of them another name in model.toml"
                )
            loaded, copies = _loaded(description, options, num_lanes - 1, beside)
            language_models.result()
            if config.lm is not None:
                loaded = _fitted(with_lm, loaded, Path(config.lm), misfits)
            if config.lodr is not None:
                loaded = _fitted(with_lodr, loaded, Path(config.lodr), lodr_misfits)
            engines = [] if loaded.streaming is None else [loaded.streaming, *copies]
            for engine in engines:
                engine.warm_up(WARM_UP_BATCHES)
            served.append(ServedModel(loaded, engines, config, stack))
            log.info("model loaded", model=description.name, folder=str(folder), methods=served[-1].methods)
    if config.lm is not None and served and not any(model.lm for model in served):
        raise StartFailed(f"lm: no model can use it; {misfits[0]}")
    if config.lodr is not None and served and not any(model.lodr for model in served):
        raise StartFailed(f"lodr: no model can use it; {lodr_misfits[0]}")
    return Models(served, config.default_model)


def _options(config: Config, threads: int, num_lanes: int) -> EngineOptions:
    return EngineOptions(
        num_slots=-(-config.streaming.max_streams // num_lanes),
        max_batch=config.streaming.max_batch_size,
        offline_batch=config.offline.max_batch_size,
        rescoring_batch=config.rescoring.max_batch_size,
        threads=max(1, threads // num_lanes),
        spinning=config.engine.spinning,
        provider=config.engine.provider,
        rewrite=config.engine.rewrite_graphs,
    )


def _fitted(
    give: Callable[[LoadedModel, Path], LoadedModel], loaded: LoadedModel, path: Path, misfits: list[str]
) -> LoadedModel:
    """Give the model the server's language model (or LODR bigram) if it fits; else go without, and say so."""
    try:
        return give(loaded, path)
    except BadModel as error:
        misfits.append(f"{loaded.description.name}: {error}")
        log.warning("language model not used", model=loaded.description.name, reason=str(error))
        return loaded


def _read_language_models(config: Config) -> None:
    """Have them read when a model is given them, which is when it shows what is wrong with one."""
    for path in filter(None, (config.lm, config.lodr)):
        with suppress(BadModel):
            read_lm(Path(path))


def _loaded(
    description: ModelDescription, options: EngineOptions, num_copies: int, beside: Executor
) -> tuple[LoadedModel, list[StreamingEngine]]:
    """The model, and copies of its streaming engine for the other lanes, loaded by `beside` meanwhile."""
    copies: list[Future[StreamingEngine]] = []
    if not description.problems and description.streaming is not None:
        copies = [beside.submit(_copy, description, options) for _ in range(num_copies)]
    return load(description, options), [copy.result() for copy in copies]


def _copy(description: ModelDescription, options: EngineOptions) -> StreamingEngine:
    assert description.tokens_path is not None, "a usable model has tokens"
    return load_streaming(description, read_tokens(description.tokens_path), options)
