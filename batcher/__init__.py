"""Batching of engine calls on the event loop, generic over item and result: queues, slots, scheduling."""

from batcher.clock import Clock, MonotonicClock, Timer
from batcher.config import BatchLimits, DynamicConfig, StepConfig
from batcher.dynamic import DynamicBatcher
from batcher.errors import (
    BatcherClosed,
    BatcherError,
    BatchFailed,
    Overloaded,
    QueueTimeout,
    SlotsExhausted,
    StaleLease,
)
from batcher.slots import Lease, SlotPool
from batcher.stats import BatcherStats, Distribution
from batcher.steps import StepBatcher

__all__ = [
    "BatchFailed",
    "BatchLimits",
    "BatcherClosed",
    "BatcherError",
    "BatcherStats",
    "Clock",
    "Distribution",
    "DynamicBatcher",
    "DynamicConfig",
    "Lease",
    "MonotonicClock",
    "Overloaded",
    "QueueTimeout",
    "SlotPool",
    "SlotsExhausted",
    "StaleLease",
    "StepBatcher",
    "StepConfig",
    "Timer",
]
