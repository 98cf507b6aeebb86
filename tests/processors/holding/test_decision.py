"""When a caller's line is held, from the state of the turn."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.events import TurnDecided
from fallbacks.events import (
    AnswerEmpty,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    EarlyAnswerTaken,
    PauseJudged,
    StageExhausted,
)
from fallbacks.failure import Kind, Scope
from processors.holding.late_answer_rules import SILENCE_S
from processors.holding.line_rules import (
    LineEvent,
    SpeakFor,
    Spoken,
    Then,
)
from processors.holding.utterance_rules import Situation
from tests.processors.holding.held_caller import (
    BEGAN,
    CAME,
    STOP,
    HeldCaller,
    Report,
    rest_taken,
    silent,
    silent_worded,
    sounded,
)
from tests.thoroughness import promised

FIRST_S = 1.05
DUE = TurnDecided(turn=1, at_s=STOP)


def written(*, more: bool) -> Report:
    return lambda decision, _: decision.answer.written(more=more)


def tool(call: str) -> Report:
    def begin(decision: HeldCaller, now: float) -> None:
        decision.line.add(STOP + 2.0 - now, now)
        decision.answer.tool_began(call, now)

    return begin


OPEN, CLOSED = written(more=True), written(more=False)
SILENT, SILENT_WORDED = silent(), silent_worded()
SOUNDED, QUIET = sounded(), sounded(audible=False)
LATER = silent(STOP + 0.95)  # of a sound after the question
LAST = silent(STOP + 1.7)
TOOL, SECOND_TOOL = tool("c1"), tool("c2")
REST = rest_taken(STOP + 2.0)
NOTHING, CUT_OFF, PARTING = (
    lambda decision, now: decision.answer.nothing_said(now),
    lambda decision, _: decision.answer.cut_off(),
    lambda decision, _: setattr(decision.floor, "parting", True),
)
GONE = StageExhausted(stage="llm", attempts=2)


def failed(stage: str, *, attempt: int = 1) -> AttemptFailed:
    told: dict[str, Any] = {
        "provider": "a",
        "kind": Kind.NETWORK,
        "scope": Scope.ENDPOINT,
        "after_s": 0.4,
    }
    return AttemptFailed(stage=stage, attempt=attempt, **told)


def asked(stage: str, *, extra: bool = False) -> AttemptStarted:
    return AttemptStarted(stage=stage, provider="a", attempt=1, extra=extra, left_s=1.0)


def early(*, calls_tool: bool = False) -> EarlyAnswerTaken:
    return EarlyAnswerTaken(
        turn=1, asked_s=0.2, gained_s=0.2, extra_share=0.1, calls_tool=calls_tool
    )


STT_FAILED, MODEL_ASKED, VOICE_ASKED = failed("stt"), asked("llm"), asked("tts")
MODEL_WON = AttemptWon(stage="llm", provider="a", attempt=1, after_s=0.3)
VOICE_WON = AttemptWon(stage="tts", provider="b", attempt=1, after_s=0.2)


def judged(*, finished: bool) -> PauseJudged:
    return PauseJudged(
        finished=finished,
        by="detector",
        early=True,
        waited_s=0.0,
        took_s=0.07,
        dropped=0,
        dropped_s=0.0,
    )


ENDED, THINKS = judged(finished=True), judged(finished=False)


def done(call: str = "c1", *, asks: bool = True) -> Report:
    return lambda decision, now: decision.answer.tool_ended(call, now, asks=asks)


def keeper_after(events: Sequence[tuple[LineEvent | Report, float]]) -> HeldCaller:
    decision = HeldCaller()
    for event, after_s in events:
        decision.report(event, STOP + after_s)
    return decision


def due_after_s(*events: tuple[LineEvent | Report, float]) -> float | None:
    at = keeper_after(((BEGAN, -1.0), *events)).wake_at
    return None if at is None else round(at - STOP, 6)


SOUND = ((BEGAN, 0.6), (THINKS, 1.1), (LATER, 1.2))
TWO_TOOLS = ((SILENT_WORDED, 0.2), (TOOL, 0.6), (SECOND_TOOL, 0.6))


@pytest.mark.parametrize(
    ("events", "due_s"),
    [
        ([(SILENT_WORDED, 0.2)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (ENDED, 0.2)], FIRST_S),
        ([(ENDED, 0.2), (SILENT_WORDED, 0.2)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (ENDED, 0.2), (DUE, 0.3)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (DUE, 0.9)], FIRST_S),
        ([(SILENT, 0.2), (CAME, 0.5)], FIRST_S),
        ([(SILENT, 0.2), (DUE, 0.3)], FIRST_S),
        ([(SILENT, 0.2)], None),
        ([(SILENT, 0.2), (ENDED, 0.45)], None),
        ([(SILENT_WORDED, 0.2), (THINKS, 0.2)], None),
        ([(THINKS, 0.2), (SILENT_WORDED, 0.2)], None),
        ([(SILENT, 0.2), (THINKS, 0.2), (CAME, 0.4)], None),
        ([(SILENT_WORDED, 0.2), (THINKS, 0.2), (THINKS, 0.3), (DUE, 1.4)], 1.45),
        ([(THINKS, 0.2), (SILENT_WORDED, 0.2), (DUE, 1.4), (CAME, 1.41)], 1.45),
        ([(STT_FAILED, 0.0), (SILENT, 0.2)], FIRST_S),
        ([(SILENT, 0.2), (STT_FAILED, 0.6)], FIRST_S),
        ([(SILENT, 0.2), (failed("stt", attempt=0), 0.6)], None),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.8)], None),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.8), (THINKS, 0.9), (CAME, 0.9)], None),
        ([(SILENT_WORDED, 0.2), (BEGAN, 0.6)], None),
        ([(THINKS, 0.2), (SILENT_WORDED, 0.2), (BEGAN, 0.6), (SILENT_WORDED, 0.7)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 0.6)], 1.29),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 0.6), (MODEL_WON, 1.0)], 1.32),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 1.0)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (MODEL_ASKED, 0.2)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (failed("llm"), 0.6)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (VOICE_ASKED, 0.7)], 1.28),
        ([(SILENT_WORDED, 0.2), (VOICE_ASKED, 0.5), (asked("tts", extra=True), 0.9)], 1.13),
        ([(SILENT_WORDED, 0.2), (asked("tts", extra=True), 0.9), (VOICE_WON, 1.12)], 1.22),
        ([(SILENT_WORDED, 0.2), (VOICE_ASKED, 0.5), (VOICE_WON, 0.7)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (VOICE_ASKED, 0.7), (VOICE_WON, 1.4)], 1.43),
        ([(SILENT, 0.2), (failed("llm"), 0.6)], None),
        ([(SILENT, 0.2), (asked("llm", extra=True), 0.6)], None),
        ([(SILENT, 0.2), (asked("stt"), 0.6)], None),
        ([(SILENT, 0.2), (asked("stt", extra=True), 0.6)], FIRST_S),
        ([(SILENT, 0.2), (MODEL_ASKED, 0.95), (STT_FAILED, 1.3)], 1.6),
        ([(SILENT, 0.2), (MODEL_ASKED, 0.95), (CAME, 1.3)], 1.6),
        ([(SILENT, 0.2), (MODEL_ASKED, 0.95), (DUE, 1.3)], 1.6),
        ([(STT_FAILED, 0.0), (SILENT, 0.2), (THINKS, 0.3)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (QUIET, 0.9)], 1.2),
        ([(SILENT_WORDED, 0.2), (early(), 0.9)], 1.13),
        ([(SILENT_WORDED, 0.2), (THINKS, 0.2), (early(calls_tool=True), 1.3), (DUE, 1.3)], 1.35),
        ([(SILENT_WORDED, 0.2), (THINKS, 0.2), (early(), 1.3), (DUE, 1.3)], 1.53),
        ([(SILENT_WORDED, 0.2), (BEGAN, 0.6), (LATER, 1.2)], 2.0),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.5), (BEGAN, 0.6), (LATER, 1.2)], None),
        ([(SILENT_WORDED, 0.2), (BEGAN, 0.6), (LATER, 1.2), (NOTHING, 3.7)], None),
        ([(SILENT_WORDED, 0.2), (BEGAN, 0.6), (THINKS, 1.1), (LATER, 1.2)], 2.0),
        ([(SILENT_WORDED, 0.2), (BEGAN, 0.6), (THINKS, 1.1), (LATER, 1.2), (DUE, 3.7)], 2.0),
        ([(SILENT_WORDED, 0.2), *SOUND, (BEGAN, 1.3), (LAST, 1.9)], 2.75),
        ([(CUT_OFF, 0.0), (DUE, 1.0)], 1.0 + FIRST_S),
        ([(SILENT, 0.2), (NOTHING, 2.7), (CUT_OFF, 2.9), (DUE, 3.0)], 3.0 + FIRST_S),
        ([(CUT_OFF, 0.0), (SOUNDED, 1.0), (DUE, 1.1)], None),
        ([(SILENT, 0.2), (NOTHING, 2.7), (STT_FAILED, 3.0)], None),
        ([(SILENT_WORDED, 0.2), (TOOL, 0.6), (SOUNDED, 1.3)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.6), (TOOL, 0.7)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.6), (TOOL, 2.5)], 2.5 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (TOOL, 0.6), (SOUNDED, 1.3), (done(), 2.5)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (TOOL, 0.6), (done(), 0.9), (SOUNDED, 1.3)], None),
        ([*TWO_TOOLS, (done("c2"), 0.9), (SOUNDED, 1.3)], 2.0 + SILENCE_S),
        ([*TWO_TOOLS, (done("c2"), 0.9), (done("c1"), 1.0), (SOUNDED, 1.3)], None),
        ([(SILENT_WORDED, 0.2), (SOUNDED, 0.6), (TOOL, 0.7), (done(asks=False), 0.8)], None),
        ([*TWO_TOOLS, (SOUNDED, 0.8), (done("c2", asks=False), 0.9)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (TOOL, 0.6), (CUT_OFF, 0.8), (SOUNDED, 1.3)], None),
        ([(SILENT_WORDED, 0.2), (TOOL, 0.6), (BEGAN, 0.8), (done(asks=False), 0.8)], None),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (CLOSED, 1.0)], None),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (QUIET, 2.5)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (CUT_OFF, 1.0)], None),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (CUT_OFF, 1), (SOUNDED, 1.3)], None),
        ([(SILENT, 0.2), (DUE, 0.3), (SOUNDED, 0.8), (CUT_OFF, 1), (DUE, 1.5)], 1.5 + FIRST_S),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (BEGAN, 1.0)], None),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (PARTING, 1.0)], None),
        ([(SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8), (TOOL, 1.0)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (REST, 0.6)], None),
        ([(SILENT_WORDED, 0.2), (rest_taken(), 0.6)], FIRST_S),
        ([(SILENT_WORDED, 0.2), (TOOL, 0.6), (REST, 0.7)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (REST, 0.6), (TOOL, 0.7)], 2.0 + SILENCE_S),
        ([(SILENT_WORDED, 0.2), (PARTING, 0.3)], None),
        ([(PARTING, -0.5), (SILENT_WORDED, 0.2), (DUE, 0.3)], None),
        ([(PARTING, -0.5), (SILENT, 0.2), (CAME, 0.3)], None),
        ([(PARTING, -0.5), (SILENT, 0.2), (STT_FAILED, 0.3)], None),
        ([(PARTING, -0.5), (SILENT_WORDED, 0.2), (GONE, 0.3)], None),
    ],
    ids=[
        "the turn decision hangs",
        "the pause is judged final",
        "the pause is judged final before the stop",
        "a healthy turn",
        "a late decision",
        "words that arrive after the stop",
        "a decided turn without words",
        "a sound without words so far",
        "a cough that is judged final",
        "a caller who thinks",
        "a caller who thinks, as judged before the stop",
        "a caller who thinks, with late words",
        "silence ends what looked like a pause",
        "words that arrive after the decision",
        "the recogniser fails during the speech",
        "the recogniser fails after the stop",
        "a recogniser that was not asked fails after the stop",
        "the answer is heard",
        "reports after the answer leave nothing pending",
        "the caller continues",
        "a caller who thinks, then stops",
        "the model was asked and can be in time",
        "the model has answered and its voice can be in time",
        "the model was asked too late to wait for it",
        "the model was asked early and is late",
        "a model that failed is not waited for",
        "a voice was asked with time for another",
        "the second voice has no further standby",
        "the second voice has just begun to send",
        "a voice that began to send early is no reason to wait",
        "a voice that begins to send never delays the filler beyond its latest time",
        "a model's failure does not make a cough a turn",
        "a second model does not make a cough a turn",
        "a recogniser's first attempt does not make a cough a turn",
        "a second recogniser was needed",
        "the recogniser fails late: a short wait from then",
        "the words arrive late: a short wait from then",
        "the turn is decided late: a short wait from then",
        "a caller who seems to think, without a recogniser",
        "the voice sends silence first",
        "an early answer",
        "an early answer that begins with a tool, after a pause",
        "an early answer without a tool, after a pause",
        "a sound after a question leaves its answer pending",
        "a sound after an answer was heard",
        "a sound after which no model is asked",
        "a sound that seemed to continue",
        "a sound that seemed to continue, and the question is asked again",
        "two sounds after a question",
        "words too soft for the VAD",
        "words that arrive after the end of their turn",
        "a turn whose answer is heard before its decision is reported",
        "the recogniser fails after a sound after which no model is asked",
        "words while a tool runs are no answer",
        "words before a tool call are no answer",
        "words before a tool call may have ended by then",
        "the tool is done and the model is asked about it",
        "the answer after a tool",
        "the other tool still runs",
        "the answer after two tools",
        "a goodbye, after which no model is asked",
        "a tool after which no model is asked, next to one that still runs",
        "a tool that was interrupted",
        "the caller speaks while a tool runs",
        "an answer is being written and not heard yet",
        "an answer that is heard is still being written",
        "an answer that is heard is complete",
        "an answer is still being written and the voice sends silence",
        "an answer was interrupted",
        "other speech after an interrupted answer",
        "words too soft for the VAD after an interrupted answer",
        "the caller speaks into the answer",
        "a goodbye was requested",
        "the answer calls a tool",
        "the local voice has taken the rest",
        "the local voice has taken the rest and not begun",
        "the local voice speaks the rest while a tool runs",
        "the local voice speaks the rest before a tool call",
        "the final goodbye was requested",
        "the caller speaks into the final goodbye",
        "the caller speaks into the final goodbye, with late words",
        "the caller speaks into the final goodbye, and the recogniser fails",
        "the caller speaks into the final goodbye, and every model fails",
    ],
)
def test_the_line_is_held_while_an_answer_is_pending(
    events: list[tuple[LineEvent | Report, float]], due_s: float | None
) -> None:
    assert due_after_s(*events) == due_s


def test_a_filler_is_followed_by_clips_until_the_answer() -> None:
    decision = keeper_after([(BEGAN, -1.0), (SILENT_WORDED, 0.2)])
    filler = SpeakFor(situations=(Situation.FILLER,), then=Then.HOLD)

    assert decision.tick(STOP + 1.04) == ()
    assert decision.tick(STOP + 1.05) == (filler,)
    assert decision.holding
    decision.handle(Spoken(action=filler, dry_at=STOP + 1.5), STOP + 1.06)
    (clip,) = decision.tick(STOP + 5.0)
    assert clip == SpeakFor(situations=(Situation.LLM, Situation.DOWN), then=Then.HOLD)
    decision.report(SOUNDED, STOP + 5.1)
    assert decision.wake_at is None


def test_a_pause_in_an_answer_is_filled_and_the_answer_counts_as_begun() -> None:
    decision = keeper_after([(BEGAN, -1.0), (SILENT_WORDED, 0.2), (OPEN, 0.5), (SOUNDED, 0.8)])
    filler = SpeakFor(situations=(Situation.FILLER,), then=Then.HOLD)

    at = 102.0 + SILENCE_S
    assert decision.tick(at) == (filler,)
    assert not decision.awaits_answer
    decision.handle(Spoken(action=filler, dry_at=at + 0.4), at)
    assert decision.tick(at + 0.4 + SILENCE_S) == (filler,)  # never a clip: the answer is available
    decision.report(CLOSED, at + 3.0)
    assert decision.wake_at is None


def test_the_silence_after_a_clip_has_a_fixed_length() -> None:
    decision = keeper_after([(BEGAN, -1.0), (SILENT_WORDED, 0.2)])
    (filler,) = decision.tick(STOP + 1.05)
    assert isinstance(filler, SpeakFor)

    decision.handle(Spoken(action=filler, dry_at=None), STOP + 1.06)
    unsaid = decision.wake_at
    decision.handle(Spoken(action=filler, dry_at=STOP + 1.5), STOP + 1.07)

    assert (unsaid, decision.wake_at) == (STOP + 1.05 + SILENCE_S, STOP + 1.5 + SILENCE_S)


@pytest.mark.parametrize("asks_again", [True, False])
def test_after_an_answer_without_words_no_answer_is_pending(
    asks_again: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    decision = keeper_after([(BEGAN, -1.0), (SILENT_WORDED, 0.2), (DUE, 0.3)])

    empty = AnswerEmpty(stage="llm", attempts=3, asks_again=asks_again)
    actions = decision.handle(empty, STOP + 1.0)

    situations = (Situation.STT, Situation.LLM)
    again = SpeakFor(situations=situations, then=Then.NOTHING)
    assert actions == ((again,) if asks_again else ())
    assert decision.wake_at is None


EVENTS = st.sampled_from([BEGAN, SILENT, SILENT_WORDED, DUE, CAME, ENDED, THINKS, SOUNDED])


@promised
@given(st.lists(EVENTS, max_size=12))
def test_nothing_is_ever_due_while_the_caller_speaks_or_thinks(
    events: list[LineEvent | Report],
) -> None:
    decision = keeper_after([(event, 0.0) for event in events])

    decision.handle(BEGAN, STOP)
    speaks = decision.wake_at
    decision.handle(THINKS, STOP)
    decision.handle(SILENT_WORDED, STOP)

    assert (speaks, decision.wake_at) == (None, None)


@promised
@given(st.lists(EVENTS, max_size=12), st.booleans())
def test_after_a_turn_an_answer_is_always_pending(
    events: list[LineEvent | Report],
    thought: bool,  # noqa: FBT001 - drawn
) -> None:
    decision = keeper_after([(event, 0.0) for event in events])

    decision.handle(BEGAN, STOP)
    decision.handle(SILENT, STOP)
    decision.handle(judged(finished=not thought), STOP)
    decision.handle(DUE, STOP)
    decision.handle(CAME, STOP)

    assert decision.wake_at is not None
    assert decision.wake_at <= STOP + 1.43
