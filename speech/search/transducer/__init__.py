"""Transducer search of many streams at once. `TransducerSearch` loads compiled kernels on import."""

from speech.search.transducer.networks import Networks
from speech.search.transducer.options import TransducerMethod, TransducerOptions
from speech.search.transducer.search import TransducerSearch

__all__ = ["Networks", "TransducerMethod", "TransducerOptions", "TransducerSearch"]
