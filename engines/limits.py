"""What engines refuse before or after a batch, in streams and in recordings alike."""

from __future__ import annotations

from collections.abc import Sequence

from engines.encoder import IntArray
from engines.errors import EngineFailed
from speech.errors import BadOption
from speech.search.options import MAX_BEAM, SearchOptions
from speech.search.transducer import TransducerOptions


def check_search(options: SearchOptions | TransducerOptions) -> SearchOptions:
    """Raise BadOption for options that no CTC engine takes; ask before a stream begins, as a batch has neighbours."""
    if not isinstance(options, SearchOptions):
        raise BadOption(f"search method {options.method} needs a transducer; this model has CTC searches")
    if options.beam_size > MAX_BEAM:
        raise BadOption(f"search beam_size is {options.beam_size}; this server allows up to {MAX_BEAM}")
    return options


def transducer_options(options: SearchOptions | TransducerOptions) -> TransducerOptions:
    """Return the options of a transducer's search; raise BadOption for others."""
    if not isinstance(options, TransducerOptions):
        raise BadOption(f"search method {options.method} needs a CTC model; this model is a transducer")
    return options


def require_known_tokens(ids: IntArray, num_out: IntArray, num_tokens: int) -> None:
    """Raise EngineFailed for ids beyond the token table: not every graph shows its vocabulary before it runs."""
    if not ids.size or ids.max() < num_tokens:
        return
    worst = max((int(row[:count].max()) for row, count in zip(ids, num_out, strict=True) if count), default=0)
    if worst >= num_tokens:
        raise EngineFailed(
            f"the graph names token {worst}, the token file has {num_tokens}: it belongs to another model"
        )


def require_slots(slots: Sequence[int], num_slots: int) -> None:
    """Raise IndexError for a slot outside, or twice in one batch: compiled kernels would write over other memory."""
    for slot in slots:
        if not 0 <= slot < num_slots:
            raise IndexError(f"slot {slot} given, 0 to {num_slots - 1} exist")
    if len(set(slots)) < len(slots):
        raise IndexError(f"slots {list(slots)} given, each may have one window in a batch")
