"""The floor of a call, and its readers."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from calls.events import CallerStarted, CallerStopped
from calls.line import CallerLine
from processors.turn.floor import Floor, FloorEvent, ReplyState, TurnBegan


def new_floor() -> Floor:
    return Floor(CallerLine())


def said(floor: Floor, words: str = "", *, until: float = 101.0) -> None:
    """Let the caller speak for a second, in a turn that is over at once."""
    floor.caller_started(until - 1.0)
    floor.turn_began()
    floor.words(words, final=True)
    floor.caller_stopped(until, now=until + 0.2)
    floor.turn_ended(until + 0.3)


def test_a_new_call_is_silent() -> None:
    floor = new_floor()

    assert (floor.caller_speaking, floor.turn_open, floor.worded) == (False, False, False)
    assert (floor.stopped_at, floor.unanswered, floor.transcribed) == (None, False, True)
    assert not floor.is_agent_audible(0.0)


def test_the_caller_speaks_from_the_vads_start_to_its_stop() -> None:
    floor = new_floor()
    floor.caller_started(100.0)
    speaking = floor.caller_since
    floor.caller_stopped(101.0, now=101.2)

    assert speaking == 100.0
    assert (floor.caller_speaking, floor.stopped_at, floor.quiet_at) == (False, 101.0, 101.2)


def test_a_turn_lasts_until_its_words_have_come() -> None:
    floor = new_floor()
    floor.caller_started(100.0)
    floor.turn_began()
    floor.caller_stopped(101.0, now=101.2)
    waits = floor.turn_open
    floor.turn_ended(101.5)

    assert waits
    assert (floor.turn_open, floor.turn_over_at) == (False, 101.5)


def test_words_count_for_their_turn_and_the_next_sound_begins_another() -> None:
    floor = new_floor()
    said(floor, "Hello")
    after_turn = floor.worded
    floor.caller_started(110.0)
    cough = floor.worded
    floor.words("  ", final=False)
    blank = floor.worded
    floor.words("I would", final=False)

    assert (after_turn, cough, blank, floor.worded) == (True, False, False, True)


def test_words_before_a_pause_count_for_what_follows_it_in_the_turn() -> None:
    floor = new_floor()
    floor.caller_started(100.0)
    floor.words("I would", final=False)
    floor.turn_began()
    floor.caller_stopped(101.0, now=101.2)
    floor.caller_started(102.0)

    assert floor.worded


def test_words_too_soft_for_the_vad_are_words_of_a_new_turn() -> None:
    floor = new_floor()
    said(floor)
    floor.words("Hello", final=True)
    floor.turn_began()

    assert (floor.worded, floor.unanswered) == (True, True)


def test_speech_is_transcribed_once_a_final_result_follows_it() -> None:
    floor, seen = new_floor(), list[bool]()
    for change in (
        lambda: floor.caller_started(100.0),
        lambda: floor.words("I would", final=False),
        lambda: floor.words("I would like", final=True),
        floor.caller_resumed,
        lambda: floor.caller_stopped(101.0, now=101.2),  # there were no more words
        lambda: floor.words("a table", final=False),
        lambda: floor.turn_ended(101.5),
    ):
        change()
        seen.append(floor.transcribed)

    assert seen == [False, False, True, False, True, False, True]


def test_a_callers_speech_is_unanswered_until_the_model_is_asked() -> None:
    floor, seen = new_floor(), list[bool]()
    for change in (
        lambda: floor.caller_started(100.0),
        lambda: floor.words("I would", final=False),
        lambda: floor.caller_stopped(101.0, now=101.2),
        floor.model_asked,
        lambda: floor.words("like", final=True),
        floor.model_asked,
        lambda: floor.keyed(110.0),
    ):
        change()
        seen.append(floor.unanswered)

    assert seen == [False, False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("change", "still"),
    [
        pytest.param(lambda floor: floor.caller_started(101.0), True, id="the caller begins"),
        pytest.param(
            lambda floor: floor.caller_stopped(101.0, now=101.2), False, id="the caller stops"
        ),
        pytest.param(lambda floor: floor.keyed(101.0), False, id="an entry is a turn of its own"),
        pytest.param(lambda floor: floor.model_asked(), True, id="the model is asked again"),
        pytest.param(lambda floor: floor.turn_ended(101.0), True, id="the turn ends late"),
    ],
)
def test_an_answer_counts_as_audible_until_the_caller_stops_again(
    change: Callable[[Floor], None],
    still: bool,  # noqa: FBT001 - a table
) -> None:
    floor = new_floor()
    floor.reply_audible = True
    change(floor)

    assert floor.reply_audible is still


def test_the_next_reply_may_be_written_while_another_one_is_on_the_line() -> None:
    floor = new_floor()
    floor.model_writes(100.0, more=True)
    floor.set_reply(ReplyState.QUEUING, more=True)
    floor.set_reply(ReplyState.ON_LINE, more=True)
    floor.model_writes(101.0, more=False)
    floor.set_reply(ReplyState.QUEUING, more=False)
    on_its_way = set(floor.reply)
    floor.model_writes(102.0, more=True)
    both = set(floor.reply)
    floor.reply_dropped()

    assert on_its_way == {ReplyState.ON_LINE}
    assert both == {ReplyState.WRITING, ReplyState.ON_LINE}
    assert floor.reply == {ReplyState.ON_LINE}  # the interruption has not reached the line


def test_an_entry_is_a_turn_with_words_unless_the_caller_has_a_turn() -> None:
    floor, told = new_floor(), list[FloorEvent]()
    floor.listeners.append(told.append)
    floor.keyed(100.0)
    alone, stopped_at = list(told), floor.stopped_at
    floor.turn_began()
    told.clear()
    floor.keyed(105.0)

    assert alone == [TurnBegan(), CallerStopped(at_s=100.0, noticed_at_s=100.0)]
    assert (stopped_at, floor.worded) == (100.0, True)
    assert (told, floor.stopped_at) == ([], 100.0)


def test_the_agent_sounds_until_the_line_runs_dry() -> None:
    line = CallerLine()
    floor = Floor(line)
    line.add(2.0, 100.0)

    assert (floor.is_agent_audible(101.9), floor.is_agent_audible(102.0)) == (True, False)
    assert floor.agent_sounds_until == 102.0


def test_a_listener_finds_the_floor_up_to_date() -> None:
    floor, seen = new_floor(), list[tuple[FloorEvent, bool]]()
    floor.listeners.append(lambda event: seen.append((event, floor.caller_speaking)))
    floor.caller_started(100.0)
    floor.caller_stopped(101.0, now=101.2)

    assert seen == [
        (CallerStarted(at_s=100.0), True),
        (CallerStopped(at_s=101.0, noticed_at_s=101.2), False),
    ]


def test_only_four_modules_read_the_vads_frame_and_all_others_the_floor() -> None:
    root = Path(__file__).parents[3]
    readers = {
        str(path.relative_to(root))
        for folder in ("bot", "calls", "processors", "transports")
        for path in (root / folder).rglob("*.py")
        if "VADUserStartedSpeakingFrame" in path.read_text(encoding="utf-8")
    } - {"bot/doctor/recogniser_check.py"}  # sends it to a recogniser outside of calls

    assert readers == {
        "processors/answerer/watch.py",  # sends its own, before the conversation
        "processors/hearing/mute.py",  # says which of them count for recognisers while muted
        "processors/hearing/stage.py",  # passes it to the recognisers, in order with the audio
        "processors/turn/ending.py",  # updates the floor
    }


def test_the_silence_counts_from_the_later_end_of_both_sides() -> None:
    line = CallerLine()
    floor = Floor(line)
    floor.caller_started(100.0)
    assert floor.quiet_since == math.inf

    floor.caller_stopped(101.0, now=101.2)
    assert floor.quiet_since == 101.2

    line.add(2.0, 102.0)
    assert floor.quiet_since == 104.0
