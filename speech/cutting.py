"""Cut long audio into pieces at its quietest places, so that each fits a model's limit and no word is cut."""

from __future__ import annotations

import numpy as np

FRAME_S = 0.02  # resolution of the loudness curve
SMOOTH_FRAMES = 15  # a pause between words lasts about 0.3 s; shorter dips are inside words


def cut_at_quiet(
    samples: np.ndarray, sample_rate: int, max_piece_s: float, search_s: float = 10.0
) -> list[tuple[int, int]]:
    """Return (begin, end) sample ranges that cover `samples` (n,) float32 without gaps, at most `max_piece_s` each.

    Every cut is put at the quietest 0.3 s of the last `search_s` seconds that the piece may have.
    """
    longest = int(max_piece_s * sample_rate)
    if len(samples) <= longest:
        return [(0, len(samples))] if len(samples) else []
    frame = int(FRAME_S * sample_rate)
    loudness = _loudness(samples, frame)
    search = min(int(search_s * sample_rate), longest // 2)
    pieces = []
    begin = 0
    while len(samples) - begin > longest:
        first, last = (begin + longest - search) // frame, (begin + longest) // frame
        end = (first + int(np.argmin(loudness[first:last]))) * frame
        pieces.append((begin, end))
        begin = end
    pieces.append((begin, len(samples)))
    return pieces


def _loudness(samples: np.ndarray, frame: int) -> np.ndarray:
    """Smoothed mean square of each whole frame, (num_frames,) float64."""
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / frame
    return np.convolve(power, np.ones(SMOOTH_FRAMES) / SMOOTH_FRAMES, mode="same")
