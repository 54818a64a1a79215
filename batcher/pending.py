"""One waiting item and its waiter, and a list of them in order. Touched on the event loop only."""

import asyncio
from bisect import bisect_left
from typing import Generic, TypeVar

from batcher.errors import BatcherError

Item = TypeVar("Item")
Result = TypeVar("Result")
P = TypeVar("P")
Key = tuple[float, ...]


class Pending(Generic[Item, Result]):
    """An item from `submit` until its result, error or cancellation. `since`: when it became ready, seconds.

    `is_followed`: its waiter submits another item as soon as it has the result, and the next batch waits for that.
    """

    __slots__ = ("future", "is_followed", "item", "since")

    def __init__(self, item: Item, future: "asyncio.Future[Result]", since: float, is_followed: bool = False) -> None:
        self.item = item
        self.future = future
        self.since = since
        self.is_followed = is_followed

    def complete(self, result: Result) -> bool:
        """Give the waiter its result; False when it has gone."""
        if self.future.done():
            return False
        self.future.set_result(result)
        return True

    def fail(self, error: BatcherError) -> bool:
        """Raise `error` in the waiter; False when it has gone."""
        if self.future.done():
            return False
        self.future.set_exception(error)
        return True


class Ranked(Generic[P]):
    """Values in the order of unique keys.

    Two plain lists: at some thousand entries an insert's memory move costs less than a heap's lazy deletions, which
    would also keep cancelled items, and the audio in them, alive.
    """

    __slots__ = ("_keys", "_values")

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._values: list[P] = []

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def first_key(self) -> Key:
        """The lowest key; IndexError when empty."""
        return self._keys[0]

    def add(self, key: Key, value: P) -> None:
        index = bisect_left(self._keys, key)
        self._keys.insert(index, key)
        self._values.insert(index, value)

    def remove(self, key: Key) -> bool:
        """Remove the entry with `key`; False when there is none."""
        index = bisect_left(self._keys, key)
        if index == len(self._keys) or self._keys[index] != key:
            return False
        del self._keys[index], self._values[index]
        return True

    def first(self, count: int) -> list[P]:
        """Return the first `count` values, fewer when there are fewer."""
        return self._values[:count]

    def take(self, count: int) -> list[P]:
        """Remove and return the first `count` values."""
        taken = self._values[:count]
        del self._keys[:count], self._values[:count]
        return taken
