"""How a stream wants its encoder frames searched by a transducer."""

from typing import Literal, get_args

import msgspec

from speech.errors import BadOption
from speech.search.options import DEFAULT_PATHS, MAX_PATHS

TransducerMethod = Literal["greedy_search", "modified_beam_search", "fast_beam_search"]
METHODS: tuple[TransducerMethod, ...] = get_args(TransducerMethod)
# Bounds that keep one stream's request from slowing its neighbours: (least, most).
LIMITS = {
    "beam_size": (1, MAX_PATHS),
    "max_symbols": (1, 10),
    "max_contexts": (1, 32),
    "max_states": (1, 1024),
    "beam": (0.1, 1000.0),
    "temperature": (0.1, 100.0),
    "blank_penalty": (-100.0, 100.0),
}


class TransducerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one stream's search; fixed from `TransducerSearch.open` on.

    `beam_size`: paths of modified_beam_search. `max_symbols`: of greedy_search, on one frame. fast_beam_search keeps
    at most `max_contexts` contexts and `max_states` states that score within `beam` of the best. `blank_penalty` is
    taken from blank's logit. `temperature` divides the logits that confidences are made of; the search sees them
    undivided. Defaults are those of sherpa-onnx and of sherpa's servers.
    """

    method: TransducerMethod = "modified_beam_search"
    beam_size: int = DEFAULT_PATHS
    max_symbols: int = 1
    beam: float = 20.0
    max_contexts: int = 8
    max_states: int = 64
    blank_penalty: float = 0.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadOption(f"search method {self.method!r} is unknown; use {', '.join(METHODS)}")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise BadOption(f"search {name} is {value}; allowed is {least:g} to {most:g}")
