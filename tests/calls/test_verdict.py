"""The verdict on each turn and call, from what the caller heard."""

from collections.abc import Sequence

import pytest

from calls.events import (
    AgentSaid,
    BudgetMissed,
    CallbackWanted,
    CallEnded,
    CallerStarted,
    CallerStopped,
    CallStarted,
    Event,
    FirstSpeech,
    PersonWanted,
    PhaseMoved,
    TurnDecided,
    TurnJudged,
)
from calls.leg_events import LineRestored
from calls.state import state_of
from calls.verdict import WAIT_S, VerdictMeter
from fallbacks.events import (
    AnswerEmpty,
    AttemptFailed,
    AttemptWon,
    HeldTheLine,
    RungChosen,
    StepTaken,
)
from fallbacks.failure import Kind, Scope

Timed = Sequence[tuple[float, Event]]
STANDBY = "elevenlabs"


def won(stage: str, provider: str) -> AttemptWon:
    return AttemptWon(stage=stage, provider=provider, attempt=1, after_s=0.2)


def begun(voice: str = "cartesia", **more: float) -> Timed:
    started = CallStarted(transport="twilio", agent="default", **more)  # type: ignore[arg-type]
    speaks = PhaseMoved(before="listening", after="speaking", cause="agent_speaks")
    return [(0.0, started), (0.3, won("tts", voice)), (0.4, speaks)]


def speaks(at: float, turn: int | None = 1) -> Timed:
    said = [(at, CallerStarted(at_s=at)), (at + 1, CallerStopped(at_s=at + 1, noticed_at_s=at + 1))]
    decided = [] if turn is None else [(at + 1.2, TurnDecided(turn=turn, at_s=at + 1.2))]
    return [*said, *decided]


def answer(at: float, turn: int = 1, voice: str = "cartesia") -> Timed:
    first = FirstSpeech(turn=turn, at_s=at, provider=voice)
    return [(at, won("llm", "openai")), (at, won("tts", voice)), (at, first)]


def held(at: float, name: str = "en.filler.0") -> Timed:
    return [(at, HeldTheLine(turn=1, utterance=name, after_s=1.1))]


def step(at: float, stage: str, name: str) -> Timed:
    return [(at, StepTaken(stage=stage, step=name))]


def late(at: float, turn: int = 1) -> Timed:
    return [(at, BudgetMissed(turn=turn, v2v_s=2.0, budget_s=1.5, most="llm_s"))]


def failed(at: float) -> Timed:
    failure = AttemptFailed(
        stage="llm", provider="openai", kind=Kind.TIMEOUT, scope=Scope.ENDPOINT, after_s=0.6
    )
    moved = RungChosen(stage="llm", before="openai", after="openai-b", cause="timeout")
    return [(at, failure), (at, moved)]


def judged(events: Timed, *, at: float = 30.0, reason: str = "caller_hung_up") -> list[Event]:
    """Return what is published of a call with these events and this end."""
    verdict = VerdictMeter(other_voices={STANDBY, "local"})
    ended = CallEnded(reason=reason, length_s=at)
    out = [item for now, event in [*events, (at, ended)] for item in verdict.handle(event, now)]
    assert [event for event in out if not isinstance(event, TurnJudged | CallEnded)] == [
        event for _, event in events
    ]
    return out


def turns_of(out: Sequence[Event]) -> dict[int, tuple[str, str]]:
    found = [event for event in out if isinstance(event, TurnJudged)]
    assert len({event.turn for event in found}) == len(found)  # each turn once
    return {event.turn: (event.verdict, event.why) for event in found}


def call_of(out: Sequence[Event]) -> str:
    (ended,) = [event for event in out if isinstance(event, CallEnded)]
    return ended.verdict


SERVED, LATE, FILLER = ("served", ""), ("degraded", "late"), ("degraded", "filler")
OTHER, MENU, CLIP = ("degraded", "other_voice"), ("hurt", "menu"), ("hurt", "clip")
SILENCE = ("hurt", "no_answer")


@pytest.mark.parametrize(
    ("heard", "turn"),
    [
        ([*answer(6.5)], SERVED),
        ([*failed(6.4), *answer(6.9)], SERVED),  # a failover in time is not heard
        ([*answer(7.0), *late(7.0)], LATE),
        ([*held(7.1), *answer(7.4)], FILLER),
        ([*answer(6.5, voice=STANDBY)], OTHER),
        ([*answer(6.5), (8.0, won("tts", STANDBY))], OTHER),  # the first voice fails in the middle
        ([*answer(6.5), *step(8.0, "tts", "local")], OTHER),
        ([*answer(6.5), (9.0, AgentSaid(turn=1, text="Goodbye.", by="local"))], OTHER),
        ([*answer(6.5), (9.0, AgentSaid(turn=1, text="Goodbye.", by="cartesia"))], SERVED),
        ([*held(7.1), (7.5, AgentSaid(turn=1, text="Hm.", by="local")), *answer(7.9)], FILLER),
        ([*held(7.1, "en.llm.4"), *held(9.0, "en.llm.5"), *answer(12.0), *late(12.0)], FILLER),
        ([*step(7.0, "llm", "clip"), *held(7.0, "en.llm.0")], CLIP),
        ([*step(7.0, "llm", "clip"), *held(7.0), *answer(9.0)], FILLER),  # the model is back
        ([*answer(6.5), *step(8.0, "llm", "clip"), *held(8.0)], CLIP),  # the rest never comes
        ([*step(7.0, "llm", "clip"), *step(13.0, "llm", "words")], MENU),
        ([*step(7.0, "llm", "clip"), *step(13.0, "llm", "keypad"), *answer(14.0)], MENU),
        ([*step(7.0, "tts", "clip"), *step(7.5, "tts", "local")], OTHER),
        ([], SILENCE),
        ([*held(7.1), *held(9.0)], SILENCE),  # fillers alone are not an answer
        ([(6.5, PersonWanted(turn=1, reason=""))], SERVED),
        ([(6.5, CallbackWanted(turn=1, when="", reason=""))], SERVED),
        ([(6.5, AnswerEmpty(stage="llm", attempts=2, asks_again=True))], CLIP),
        ([(6.5, AnswerEmpty(stage="llm", attempts=1, asks_again=False))], SERVED),
    ],
)
def test_a_turn_is_judged_by_what_was_heard(heard: Timed, turn: tuple[str, str]) -> None:
    out = judged([*begun(), *speaks(5.0), *heard])

    assert turns_of(out) == {0: SERVED, 1: turn}
    assert call_of(out) == turn[0]


@pytest.mark.parametrize(("waits_s", "turn"), [(WAIT_S - 0.5, SERVED), (WAIT_S + 0.5, SILENCE)])
def test_a_caller_who_goes_on_or_hangs_up_before_an_answer_was_due_is_served(
    waits_s: float, turn: tuple[str, str]
) -> None:
    stopped_at = 6.0
    goes_on = [*speaks(stopped_at + waits_s, 2), *answer(stopped_at + waits_s + 1.5, 2)]

    assert turns_of(judged([*begun(), *speaks(5.0), *goes_on]))[1] == turn
    assert turns_of(judged([*begun(), *speaks(5.0)], at=stopped_at + waits_s))[1] == turn


def test_a_cough_during_the_wait_does_not_hide_that_no_answer_came() -> None:
    assert turns_of(judged([*begun(), *speaks(5.0), *speaks(6.5, None)]))[1] == SILENCE


def test_a_recogniser_that_is_down_hurts_the_turn_that_was_never_decided() -> None:
    answered = [*begun(), *speaks(5.0), *answer(6.5)]
    deaf = [*speaks(12.0, None), *step(14.0, "stt", "clip"), *held(14.0, "en.stt.0")]

    assert turns_of(judged([*answered, *deaf])) == {0: SERVED, 1: SERVED, 2: CLIP}


def test_speech_for_a_turn_that_was_never_decided_does_not_answer_the_turn_before() -> None:
    apology = AgentSaid(turn=0, text="Say it again, please.", by="local")
    deaf = [*speaks(5.0, None), *step(7.0, "stt", "clip"), *held(7.0, "en.stt.0"), (9.0, apology)]

    assert turns_of(judged([*begun(), *deaf])) == {0: SERVED, 1: CLIP}


def test_a_caller_who_had_to_repeat_is_hurt_also_if_the_answer_comes_then() -> None:
    deaf = [*speaks(5.0, None), *step(7.0, "stt", "clip"), *held(7.0, "en.stt.0")]
    repeated = [*speaks(10.0), *answer(11.5)]

    assert turns_of(judged([*begun(), *deaf, *repeated]))[1] == CLIP


def test_the_menu_is_judged_at_once_and_the_turn_only_once() -> None:
    verdict = VerdictMeter()
    for now, event in [*begun(), *speaks(5.0), *step(7.0, "llm", "clip")]:
        verdict.handle(event, now)
    menu = StepTaken(stage="llm", step="words")

    assert verdict.handle(menu, 12.0)[0] == TurnJudged(turn=1, verdict="hurt", why="menu")
    assert verdict.handle(StepTaken(stage="llm", step="goodbye"), 20.0) == (
        StepTaken(stage="llm", step="goodbye"),
    )


def test_a_call_that_begins_in_a_known_outage_is_degraded_although_nothing_fails_in_it() -> None:
    out = judged([*begun(STANDBY), *speaks(5.0), *answer(6.5, voice=STANDBY)])

    assert turns_of(out) == {0: OTHER, 1: OTHER}
    assert call_of(out) == "degraded"


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        ("caller_hung_up", "served"),
        ("agent_hung_up", "served"),
        ("silence", "served"),
        ("max_length", "served"),
        ("transfer", "served"),
        ("failed", "lost"),
        ("line_lost", "lost"),
        ("shutdown", "lost"),
    ],
)
def test_a_call_that_we_cut_is_lost(reason: str, verdict: str) -> None:
    assert call_of(judged([*begun(), *speaks(5.0), *answer(6.5)], reason=reason)) == verdict


def test_a_call_is_as_bad_as_its_worst_turn() -> None:
    clip = [*begun(), *speaks(5.0), *step(7.0, "llm", "clip"), *held(7.0)]
    fine = [*speaks(12.0, 2), *answer(13.5, 2)]

    assert call_of(judged([*clip, *fine])) == "hurt"


def test_a_call_in_which_the_agent_is_never_heard_is_hurt() -> None:
    started = CallStarted(transport="twilio", agent="default")

    assert call_of(judged([(0.0, started)], at=10.0)) == "hurt"
    assert call_of(judged([(0.0, started)], at=2.0)) == "served"


def test_a_gap_of_the_line_degrades_the_call_and_a_resumed_call_keeps_its_verdict() -> None:
    restored = (9.0, LineRestored(after_s=1.5))
    resumed = VerdictMeter(worst="hurt")
    resumed.handle(CallStarted(transport="twilio", agent="default", gap_s=2.0, turn=3), 0.0)
    (*_, ended) = resumed.handle(CallEnded(reason="caller_hung_up", length_s=9.0), 9.0)

    assert call_of(judged([*begun(), *speaks(5.0), *answer(6.5), restored])) == "degraded"
    assert call_of(judged(begun(gap_s=1.0), at=3.0)) == "degraded"
    assert isinstance(ended, CallEnded)
    assert ended.verdict == "hurt"


def test_the_state_of_a_call_has_the_published_verdicts() -> None:
    out = judged([*begun(), *speaks(5.0), *step(7.0, "llm", "clip"), *held(7.0)])
    state = state_of(out)
    live = state_of(out[:-1])  # the turn was judged, the call goes on

    assert {number: turn.verdict for number, turn in state.turns.items()} == {
        0: "served",
        1: "hurt",
    }
    assert (state.verdict, state.why, live.verdict) == ("hurt", "clip", "hurt")
    assert state.hurt_at is not None
