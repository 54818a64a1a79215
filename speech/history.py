"""What the steps of one segment leave for a second look: encoder output or features."""

import numpy as np
from numpy.typing import NDArray


class SegmentHistory:
    """Rows of one segment in a buffer that doubles: appending is O(rows), not O(rows so far).

    Past `max_rows` the segment is too long to rescore: its rows are dropped, and `take` says so with None.
    Owned by one stream's `Recognition`.
    """

    def __init__(self, max_rows: int | None = None) -> None:
        self._max_rows = max_rows
        self._buffer: NDArray[np.float32] | None = None
        self._num_rows = 0

    def __len__(self) -> int:
        """Rows appended since the last `take`, dropped ones included."""
        return self._num_rows

    @property
    def is_too_long(self) -> bool:
        return self._max_rows is not None and self._num_rows > self._max_rows

    def append(self, rows: NDArray[np.float32]) -> None:
        """Copy `rows` (n, D) to the end. Raises ValueError when D differs from that of earlier rows."""
        start = self._num_rows
        self._num_rows += len(rows)
        if self.is_too_long:
            self._buffer = None
            return
        buffer = self._reserve(self._num_rows, rows.shape[1], rows.dtype)
        buffer[start : self._num_rows] = rows

    def take(self) -> NDArray[np.float32] | None:
        """Return the (T, D) rows, which are the caller's from now on, and start anew; None if none or too many."""
        rows = self.so_far()
        self._buffer, self._num_rows = None, 0
        return rows

    def so_far(self) -> NDArray[np.float32] | None:
        """Return the (T, D) rows and keep them: a view, which later rows leave as it is; None if none or too many."""
        return None if self._buffer is None else self._buffer[: self._num_rows]

    def _reserve(self, num_rows: int, dim: int, dtype: np.dtype[np.float32]) -> NDArray[np.float32]:
        old = self._buffer
        if old is not None and old.shape[1] != dim:
            raise ValueError(f"rows have {dim} values; those before had {old.shape[1]}")
        if old is not None and len(old) >= num_rows:
            return old
        buffer = np.empty((max(64, 2 * (0 if old is None else len(old)), num_rows), dim), dtype)
        if old is not None:
            buffer[: len(old)] = old
        self._buffer = buffer
        return buffer
