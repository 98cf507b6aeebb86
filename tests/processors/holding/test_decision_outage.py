"""Holding a call's line while a stage has no usable rung."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.events import TurnDecided
from fallbacks.events import AttemptWon, StageExhausted, StageRecovered, StepTaken
from processors.holding.decision import USUALLY_S
from processors.holding.late_answer_rules import SILENCE_S
from processors.holding.line_rules import (
    LineEvent,
    SpeakFor,
    Spoken,
    Then,
)
from processors.holding.outage_rules import REPLY_S, OutageSettings, Step
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
MAX_S = REPLY_S + USUALLY_S["llm"]  # for an outage that ends when the next step is due
DUE = TurnDecided(turn=1, at_s=STOP)
SILENT_WORDED = silent_worded()
SOUNDED = sounded()
MODEL_WON = AttemptWon(stage="llm", provider="a", attempt=1, after_s=0.3)


def owing_keeper(*steps: Step) -> HeldCaller:
    """Return a keeper whose caller has just finished."""
    settings = OutageSettings(steps=steps) if steps else OutageSettings()
    decision = HeldCaller(settings)
    decision.handle(BEGAN, STOP - 1.0)
    decision.handle(SILENT_WORDED, STOP + 0.2)
    return decision


def waited_for(until: float) -> Report:
    def wait(decision: HeldCaller, _: float) -> None:
        decision.word_until = until

    return wait


def test_an_exhausted_stage_is_announced_in_place_of_a_filler() -> None:
    decision = owing_keeper()
    decision.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)

    actions = decision.tick(STOP + 0.5)

    assert actions == (
        StepTaken(stage="llm", step="clip"),
        SpeakFor(situations=(Situation.LLM, Situation.DOWN), then=Then.WAIT),
    )
    assert not decision.holding


def test_a_stage_is_down_from_its_announcement_until_it_answers() -> None:
    decision = owing_keeper()
    decision.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)
    decision.tick(STOP + 0.5)

    assert (
        decision.wake_at == STOP + 4.0
    )  # the outage menu has the line: no filler, but the next step
    (recovered,) = decision.handle(MODEL_WON, STOP + 8.5)

    assert recovered == StageRecovered(stage="llm", down_s=8.0)


@pytest.mark.parametrize(
    ("stage", "event", "due_s"),
    [
        ("tts", DUE, 0.6),
        ("tts", rest_taken(STOP + 2.0), None),
        ("llm", rest_taken(STOP + 2.0), 0.5),
        ("llm", waited_for(STOP + 0.9), 0.9),
        ("stt", DUE, FIRST_S),
        ("stt", AttemptWon(stage="stt", provider="b", attempt=3, after_s=0.3), None),
        ("stt", AttemptWon(stage="llm", provider="b", attempt=3, after_s=0.3), FIRST_S),
        ("stt", CAME, FIRST_S),
    ],
    ids=[
        "a voice's last words may be on their way",
        "the local voice takes over",
        "the local voice thinks no answers up",
        "a word of the menu is waited for",
        "a recogniser's end is told behind a pause",
        "a recogniser that is back hears all of it again",
        "a model that answers writes no words down",
        "words that came may not be all",
    ],
)
def test_an_exhausted_stage_is_announced_when_allowed(
    stage: str, event: LineEvent | Report, due_s: float | None
) -> None:
    decision = owing_keeper()
    decision.report(SOUNDED, STOP + 0.3)

    decision.handle(StageExhausted(stage=stage, attempts=2), STOP + 0.5)
    decision.report(event, STOP + 0.5)

    at = decision.wake_at
    assert (None if at is None else round(at - STOP, 6)) == due_s


def test_nothing_is_played_over_a_callers_message() -> None:
    decision = owing_keeper(Step.KEYPAD, Step.CHOSEN, Step.GOODBYE)
    decision.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)
    decision.tick(STOP + 0.5)
    decision.outage.press("2", STOP + 5.0)

    decision.handle(BEGAN, STOP + 9.0)
    decision.handle(silent_worded(STOP + 12.0), STOP + 12.2)

    assert decision.wake_at is None
    assert decision.tick(STOP + 13.5) == ()


CLIP_S = 2.0


def won(stage: str) -> AttemptWon:
    return AttemptWon(stage=stage, provider="b", attempt=9, after_s=0.3)


def outage_keeper(stage: str = "llm", dry_at: float = STOP + 3.0) -> HeldCaller:
    """Return a keeper that has announced an outage, with a clip that ends at `dry_at`."""
    decision = owing_keeper()
    decision.handle(StageExhausted(stage=stage, attempts=2), STOP + 0.5)
    at = decision.wake_at
    assert at is not None
    *_, clip = decision.tick(at)
    assert isinstance(clip, SpeakFor)
    decision.handle(Spoken(action=clip, dry_at=dry_at), at)
    return decision


def test_a_slow_answer_after_an_outage_gets_a_filler() -> None:
    decision = outage_keeper(dry_at=STOP + 3.0)
    decision.handle(MODEL_WON, STOP + 2.0)

    assert decision.wake_at == STOP + 3.0 + SILENCE_S
    assert decision.tick(STOP + 3.0 + SILENCE_S) == (
        SpeakFor(situations=(Situation.LLM, Situation.DOWN), then=Then.HOLD),
    )
    decision.report(SOUNDED, STOP + 7.0)
    assert decision.wake_at is None


def test_sound_of_an_answer_delays_the_next_step() -> None:
    decision = outage_keeper(dry_at=101.0)
    decision.report(SOUNDED, 101.0)

    assert decision.outage.wake_at == 102.0 + REPLY_S


def test_a_clip_in_transit_when_its_outage_ends_is_heard_to_its_end_first() -> None:
    decision = owing_keeper()
    decision.handle(StageExhausted(stage="llm", attempts=2), STOP + 0.5)
    *_, clip = decision.tick(STOP + 0.5)
    assert isinstance(clip, SpeakFor)
    decision.handle(MODEL_WON, STOP + 0.6)

    decision.handle(Spoken(action=clip, dry_at=STOP + 3.0), STOP + 0.7)

    assert decision.wake_at == STOP + 3.0 + SILENCE_S


def test_a_model_that_is_down_after_a_recogniser_is_announced_too() -> None:
    decision = outage_keeper("stt", dry_at=STOP + 3.0)
    decision.handle(won("stt"), STOP + 4.0)
    decision.handle(CAME, STOP + 4.1)
    decision.handle(StageExhausted(stage="llm", attempts=2), STOP + 5.0)
    decision.tick(STOP + 5.0)

    assert decision.tick(STOP + 3.0 + REPLY_S) == (
        StepTaken(stage="llm", step="clip"),
        SpeakFor(situations=(Situation.LLM, Situation.DOWN), then=Then.WAIT),
    )


def test_a_caller_who_was_finally_heard_is_not_asked_to_repeat() -> None:
    decision = HeldCaller()
    decision.handle(BEGAN, STOP - 6.0)
    decision.handle(StageExhausted(stage="stt", attempts=2), STOP - 4.0)
    decision.handle(won("stt"), STOP - 2.0)
    decision.handle(CAME, STOP - 1.0)
    decision.handle(SILENT_WORDED, STOP + 0.2)
    decision.handle(DUE, STOP + 0.3)
    decision.report(SOUNDED, STOP + 0.8)

    assert decision.wake_at is None
    assert decision.tick(STOP + FIRST_S) == ()
    assert not decision.led


def test_a_recogniser_that_recovers_and_fails_again_is_announced() -> None:
    decision = HeldCaller()
    decision.handle(BEGAN, STOP - 6.0)
    decision.handle(StageExhausted(stage="stt", attempts=2), STOP - 4.0)
    decision.handle(won("stt"), STOP - 2.0)
    decision.handle(StageExhausted(stage="stt", attempts=2), STOP - 1.0)
    decision.handle(SILENT_WORDED, STOP + 0.2)

    assert StepTaken(stage="stt", step="clip") in decision.tick(STOP + FIRST_S)


def test_after_a_recogniser_recovers_an_answer_is_pending_once_there_are_words() -> None:
    settings = OutageSettings()
    decision = HeldCaller(settings)
    decision.handle(BEGAN, STOP - 1.0)
    decision.handle(silent(), STOP + 0.2)
    decision.handle(StageExhausted(stage="stt", attempts=2), STOP + 0.5)
    *_, clip = decision.tick(STOP + FIRST_S)
    assert isinstance(clip, SpeakFor)
    decision.handle(Spoken(action=clip, dry_at=STOP + 3.0), STOP + 1.1)

    decision.handle(won("stt"), STOP + 4.0)
    before = decision.wake_at
    decision.handle(CAME, STOP + 4.1)

    assert (before, decision.wake_at) == (None, STOP + 3.0 + SILENCE_S)


def test_an_answer_is_pending_from_the_stop_of_a_caller_who_has_spoken_since() -> None:
    decision = outage_keeper(dry_at=STOP + 3.0)
    decision.handle(BEGAN, STOP + 5.0)
    decision.handle(MODEL_WON, STOP + 5.5)  # their pause was used
    speaks = decision.wake_at
    decision.handle(silent_worded(STOP + 6.0), STOP + 6.2)

    assert (speaks, decision.wake_at) == (None, STOP + 6.0 + FIRST_S)


COMES_AND_GOES = st.tuples(
    st.sampled_from(["llm", "tts"]), st.booleans(), st.sampled_from([0.0, 0.3, 1.0, 4.0])
)


@promised
@given(st.lists(COMES_AND_GOES, max_size=8))
def test_while_stages_come_and_go_no_silence_is_long_and_nothing_is_repeated_at_once(
    course: Sequence[tuple[str, bool, float]],
) -> None:
    decision = outage_keeper(dry_at=STOP + 3.0)
    now, dry_at, over = STOP + 0.5, STOP + 3.0, False
    for stage, back, after_s in [*course, ("llm", True, 60.0)]:
        until = now + after_s
        while not over and (at := decision.wake_at) is not None and at <= until:
            now = max(now, at)
            for action in decision.tick(now):
                if isinstance(action, SpeakFor):
                    least_s = SILENCE_S if action.then is Then.HOLD else REPLY_S
                    assert least_s <= round(now - dry_at, 6) <= MAX_S
                    dry_at = now + CLIP_S
                    decision.handle(Spoken(action=action, dry_at=dry_at), now)
                    over = action.then is Then.HANG_UP
        now = until
        event = won(stage) if back else StageExhausted(stage=stage, attempts=2)
        decision.handle(event, now)
        assert over or (decision.wake_at is not None and decision.wake_at <= dry_at + MAX_S)
