"""What tests with the real speaker models share: they are run where `chorus models pull` has been."""

from pathlib import Path

import pytest

from engines.pull.store import installed

ROOT = Path(__file__).parent.parent
NAMES = ("campplus", "silero-vad", "pyannote-segmentation")

needs_speaker_models = pytest.mark.skipif(
    any(installed(name) is None for name in NAMES), reason=f"run `chorus models pull {' '.join(NAMES)}` first"
)


def speaker_models() -> tuple[Path, ...]:
    """The folders, in the order of NAMES."""
    return tuple(folder for name in NAMES if (folder := installed(name)) is not None)
