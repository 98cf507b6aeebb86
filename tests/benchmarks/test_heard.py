"""The words of a call are found in its recorded sound."""

import base64

import numpy as np
import pytest

from benchmarks.caller import HeldCall, HeldTurn
from benchmarks.figures import NEVER_S
from benchmarks.heard import judge_call
from lab.callers import RATE_HZ, WORD_PAUSE_S, encode, sound_of

ANSWER = "We open at nine."
STOP_S = 2.0
SAID_S = 3.0  # of the call


def sound(text: str) -> bytes:
    pause = np.zeros(round(WORD_PAUSE_S * RATE_HZ), np.int16)
    words = [sound_of(item, instance="cartesia") for item in text.split()]
    return encode(np.concatenate([part for word in words for part in (word, pause)]))


def held(*said: tuple[float, str]) -> HeldCall:
    payloads = [(at_s, "media", base64.b64encode(sound(text)).decode()) for at_s, text in said]
    turn = HeldTurn(question="When?", answer=ANSWER, began_s=1.0, stop_s=STOP_S, end_s=9.0)
    return HeldCall(
        number=3,
        rang_at=100.0,
        connected_s=0.1,
        turns=[turn],
        arrivals=[(0.3, "media", base64.b64encode(sound("Hello.")).decode()), *payloads],
        ended_s=9.0,
    )


def test_an_answer_is_whole_when_each_word_was_heard_once() -> None:
    found = judge_call(held((SAID_S, ANSWER)), started_at=90.0)

    (turn,) = found.turns
    assert turn.whole
    assert turn.first_word_s == pytest.approx(1.0, abs=0.01)
    assert turn.gap_s == pytest.approx(0.0, abs=0.05)
    assert turn.at_s == pytest.approx(12.1)
    assert found.voices == {"cartesia": 4}


def test_a_word_that_was_never_played_is_missing() -> None:
    (turn,) = judge_call(held((SAID_S, "We open nine.")), started_at=90.0).turns

    assert turn.missing == ("at",)
    assert not turn.whole


def test_a_repeated_word_is_reported_as_extra() -> None:
    (turn,) = judge_call(held((SAID_S, "We open open at nine.")), started_at=90.0).turns

    assert turn.extra == ("open",)
    assert not turn.whole


def test_a_long_pause_inside_an_answer_is_a_gap() -> None:
    first_s = len(sound("We open")) / RATE_HZ
    later = SAID_S + first_s + 0.6

    (turn,) = judge_call(held((SAID_S, "We open"), (later, "at nine.")), started_at=90.0).turns

    assert turn.whole
    assert turn.gap_s == pytest.approx(0.6, abs=0.05)


def test_silence_is_no_answer() -> None:
    (turn,) = judge_call(held(), started_at=90.0).turns

    assert turn.first_word_s == NEVER_S
    assert not turn.whole


def in_pieces(text: str, *, late_s: float) -> list[tuple[float, str, str]]:
    """Return a text as sound of a server that falls a little behind with each 40 ms."""
    whole = sound(text)
    pieces = [whole[at : at + 320] for at in range(0, len(whole), 320)]
    return [
        (SAID_S + number * (0.04 + late_s), "media", base64.b64encode(piece).decode())
        for number, piece in enumerate(pieces)
    ]


def test_words_interrupted_by_a_gap_are_torn_and_not_lost() -> None:
    call = held()
    call.arrivals += in_pieces(ANSWER, late_s=0.015)

    (turn,) = judge_call(call, started_at=90.0).turns

    assert turn.whole
    assert turn.torn
    assert turn.torn_words == 4
    assert turn.first_word_s == pytest.approx(1.0, abs=0.01)


def test_pieces_that_arrive_in_time_tear_no_word() -> None:
    call = held()
    call.arrivals += in_pieces(ANSWER, late_s=-0.01)

    (turn,) = judge_call(call, started_at=90.0).turns

    assert turn.whole
    assert not turn.torn
