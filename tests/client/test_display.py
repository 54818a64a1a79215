"""What a person at a terminal sees of `chorus transcribe`: texts that grow above a bar, and in a pipe nothing."""

import io

from rich.console import Console

from client.display import Display, growing_line
from client.jobs import Outcome
from client.lists import Recording
from client.results import StreamResult, Transcript
from speech.results import Alternative

ONE, TWO = Recording("one", "one.wav"), Recording("two", "two.wav")


def said(text: str, *, is_final: bool = False, channel: int = 0) -> StreamResult:
    best = (Alternative(text, 0.0, 1.0),) if text else ()
    return StreamResult(best, is_final, 1.0, 0, 0, 0, 0, channel)


def shown(display: Display, console: Console) -> str:
    """What is written until the live part goes away: it is drawn once more, at its last, before it does."""
    with display:
        pass
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def terminal(is_terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=60, color_system=None, legacy_windows=False)


def test_texts_grow_for_each_recording_and_channel_above_a_bar() -> None:
    console = terminal()
    display = Display(3, console)
    assert display.is_live
    display.heard(ONE, said("GOOD MORN"))
    display.heard(ONE, said("GOOD MORNING", is_final=True))
    display.heard(ONE, said("HOW"))
    display.heard(TWO, said("LEFT", channel=1))
    display.heard(TWO, said("RIGHT", channel=2))
    text = shown(display, console)
    for row in ("one  GOOD MORNING HOW", "two[1]  LEFT", "two[2]  RIGHT", "Recognising", "0/3"):
        assert row in text
    assert "GOOD MORN HOW" not in text


def test_what_is_finished_leaves_its_row_and_fills_the_bar() -> None:
    console = terminal()
    display = Display(2, console)
    display.heard(ONE, said("GOOD"))
    display.heard(TWO, said("EVENING"))
    display.sent(TWO, 0.5)
    display.finished(Outcome(ONE, Transcript(())))
    text = shown(display, console)
    assert "GOOD" not in text
    assert "two  EVENING" in text
    assert "1/2" in text


def test_a_partial_that_is_taken_back_disappears() -> None:
    console = terminal()
    display = Display(1, console)
    display.heard(ONE, said("NOISE"))
    display.heard(ONE, said(""))
    assert "NOISE" not in shown(display, console)


def test_in_a_pipe_nothing_is_drawn() -> None:
    console = terminal(is_terminal=False)
    display = Display(2, console)
    display.heard(ONE, said("GOOD"))
    assert not display.is_live
    assert shown(display, console) == ""


def test_of_a_text_too_long_for_its_row_the_end_is_shown() -> None:
    line = growing_line("one", ["A" * 50, "B" * 20], "CCC", width=40)
    assert line.plain.startswith("one  …")
    assert line.plain.endswith("B" * 20 + " CCC")
    assert len(line.plain) <= 40
