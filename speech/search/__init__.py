"""Search over encoder frames: token hypotheses from CTC posteriors. `CtcSearch` loads compiled kernels on import."""

from speech.search.ctc import CtcSearch
from speech.search.nbest import Bonus, Nbest
from speech.search.options import Method, SearchOptions

__all__ = ["Bonus", "CtcSearch", "Method", "Nbest", "SearchOptions"]
