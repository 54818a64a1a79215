import numpy as np
import pytest

from speech.history import SegmentHistory


def rows(start, count, dim=3):
    return np.arange(start * dim, (start + count) * dim, dtype=np.float32).reshape(count, dim)


def test_rows_come_back_in_order_and_once():
    history = SegmentHistory()
    for start, count in [(0, 16), (16, 16), (32, 1), (33, 0), (33, 200)]:
        history.append(rows(start, count))
    assert len(history) == 233
    np.testing.assert_array_equal(history.take(), rows(0, 233))
    assert history.take() is None
    assert len(history) == 0


def test_taken_rows_do_not_change_when_the_next_segment_comes():
    history = SegmentHistory()
    history.append(rows(0, 4))
    taken = history.take()
    history.append(rows(50, 4))
    np.testing.assert_array_equal(taken, rows(0, 4))


def test_appended_rows_are_copied():
    history = SegmentHistory()
    chunk = rows(0, 4)
    history.append(chunk)
    chunk[:] = -1
    np.testing.assert_array_equal(history.take(), rows(0, 4))


def test_appending_copies_a_bounded_number_of_times():
    history = SegmentHistory()
    buffers = set()
    for start in range(0, 16000, 16):
        history.append(rows(start, 16))
        buffers.add(id(history._buffer))
    assert len(buffers) <= 10
    assert len(history.take()) == 16000


def test_a_segment_too_long_is_dropped_and_the_next_one_kept():
    history = SegmentHistory(max_rows=20)
    history.append(rows(0, 16))
    history.append(rows(16, 16))
    history.append(rows(32, 2))
    assert history.is_too_long
    assert history.take() is None
    history.append(rows(7, 20))
    np.testing.assert_array_equal(history.take(), rows(7, 20))


def test_rows_of_another_width_are_refused():
    history = SegmentHistory()
    history.append(rows(0, 2))
    with pytest.raises(ValueError, match=r"4 values.* 3"):
        history.append(rows(0, 2, dim=4))


def test_half_precision_rows_stay_half_precision():
    history = SegmentHistory()
    history.append(rows(0, 2).astype(np.float16))
    assert history.take().dtype == np.float16
