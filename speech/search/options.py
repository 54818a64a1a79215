"""How a stream wants its encoder frames searched."""

from typing import Literal

import msgspec

from speech.errors import BadOption

MAX_BEAM = 128  # hypotheses of one stream; what servers allocate for, 12 KiB a slot
DEFAULT_BEAM = 10  # WeNet's
MAX_PATHS = 32  # the same for transducers
DEFAULT_PATHS = 4  # sherpa's

Method = Literal["ctc_greedy", "ctc_prefix_beam"]


class SearchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one stream's search; fixed from `CtcSearch.open` on.

    `top_k`: candidates used per frame. `cutoff_prob`: below 1, a frame's candidates end once the better ones sum to
    more. `blank_skip`: below 1, frames whose best candidate is blank with at least this probability are read once
    per run of them. `blank_penalty`: natural-log units taken from blank, so that fewer tokens are lost; scores
    include it. The defaults skip and cut nothing.
    """

    method: Method = "ctc_prefix_beam"
    beam_size: int = DEFAULT_BEAM
    top_k: int = 10
    blank_skip: float = 1.0
    cutoff_prob: float = 1.0
    blank_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in ("ctc_greedy", "ctc_prefix_beam"):
            raise BadOption(f"search method {self.method!r} is unknown; use ctc_greedy or ctc_prefix_beam")
        for name in ("beam_size", "top_k"):
            if getattr(self, name) < 1:
                raise BadOption(f"search {name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("blank_skip", "cutoff_prob"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise BadOption(f"search {name} is {getattr(self, name)}; allowed is above 0, up to 1")
        if not -100.0 <= self.blank_penalty <= 100.0:
            raise BadOption(f"search blank_penalty is {self.blank_penalty}; allowed is -100 to 100")
