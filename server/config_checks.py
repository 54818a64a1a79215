"""What settings must be together; each may come from another source, so they are checked when all have been read."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from server.errors import BadConfig

if TYPE_CHECKING:
    from server.config import Config


def check_together(config: Config) -> None:
    """Raise BadConfig naming the path of the first setting that contradicts another one."""
    for name, preferred, most in (
        ("streaming", config.streaming.preferred_batch_sizes, config.streaming.max_batch_size),
        ("offline", config.offline.preferred_batch_sizes, config.offline.max_batch_size),
        ("speaker", config.speaker.preferred_batch_sizes, config.speaker.max_batch_size),
    ):
        too_big = [size for size in preferred if size > most]
        if too_big:
            _refuse(f"{too_big[0]} is above max_batch_size, {most}", f"{name}.preferred_batch_sizes")
    for name, bounds in (("offline", config.offline.bucket_seconds), ("speaker", config.speaker.bucket_seconds)):
        if any(later <= earlier for earlier, later in pairwise(bounds)):
            _refuse(f"{list(bounds)} must ascend without repeats", f"{name}.bucket_seconds")
    if config.offline.default_priority_level > config.offline.priority_levels:
        level, levels = config.offline.default_priority_level, config.offline.priority_levels
        _refuse(f"{level} is above priority_levels, {levels}", "offline.default_priority_level")


def _refuse(problem: str, path: str) -> None:
    raise BadConfig(f"settings: {problem} - at `$.{path}`")
