"""The measures of one run, from made-up recordings."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.drill.evidence import JudgedTurn, TurnRequest
from lab.drill.hearing import RecordedWord
from lab.drill.judge import ReplyVerdict, compare_words
from lab.drill.long_reply import as_ended
from lab.drill.measured import MeasuredRun, changes, first_speech_after, quiet_after
from lab.drill.rig import AskedTurn
from lab.drill.rows import LOST
from tests.lab.drill.recordings import RATE_HZ, silence, taken_over, whole_reply

TURN = AskedTurn(question="?", answer="!", began_s=2.0, stop_s=3.0, end_s=9.0)


@dataclass
class Call:
    """The part of a call that a measure needs."""

    sound: NDArray[np.int16] = field(repr=False)

    def heard(self) -> NDArray[np.int16]:
        return self.sound


def tone(length_s: float) -> NDArray[np.int16]:
    return np.full(round(length_s * RATE_HZ), 5000, np.int16)


@pytest.mark.parametrize(
    ("parts", "quiet_s"),
    [
        ((tone(2.3), silence(3.0)), 0.3),  # spoke on for 0.3 s
        (
            (tone(2.1), silence(0.1), tone(0.2), silence(3.0)),
            0.4,
        ),  # with a short pause
        ((tone(2.2), silence(2.0), tone(2.0)), 0.2),  # later sound is the next answer
        ((tone(1.0), silence(2.0), tone(2.0)), 0.0),  # was quiet when the caller began
    ],
)
def test_the_agent_is_quiet_when_its_last_sound_after_the_barge_in_ends(
    parts: tuple[NDArray[np.int16], ...], quiet_s: float
) -> None:
    assert quiet_after(Call(np.concatenate(parts)), TURN) == pytest.approx(quiet_s, abs=0.02)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "waited_s"),
    [
        ((tone(1.0), silence(1.5), tone(0.3), silence(1.0)), 0.5),  # spoke before, too
        ((tone(1.0), silence(5.0)), LOST),
    ],
)
def test_an_interrupting_caller_waited_for_the_first_sound_after_the_question(
    parts: tuple[NDArray[np.int16], ...], waited_s: float
) -> None:
    call: Any = Call(np.concatenate(parts))

    assert first_speech_after(call, 2.0) == pytest.approx(waited_s, abs=0.02)


def test_a_reply_that_broke_off_has_a_gap_without_an_end() -> None:
    whole, reply = MeasuredRun(), whole_reply()
    whole.add(judge_turn(reply.judged()))
    broken = MeasuredRun()
    broken.add(judge_turn(reply.heard_as(reply.recording[: 3 * RATE_HZ], silence(3.0)).judged()))

    assert whole.measures["lost_turns"] == 0
    assert whole.measures["gap_s"] < 0.1
    assert broken.measures["lost_turns"] == 1
    assert broken.measures["gap_s"] == LOST


def test_the_turns_of_a_run_are_counted_together_and_the_worst_one_decides() -> None:
    run = MeasuredRun()
    run.add(judge_turn(taken_over(7, gap_s=0.4).judged(), "cartesia", "elevenlabs"))
    run.add(judge_turn(whole_reply().judged(), "cartesia"))

    assert run.measures["turns"] == 2
    assert run.measures["requests"] == 3
    assert run.measures["standby_requests"] == 1
    assert run.measures["gap_s"] == pytest.approx(0.4, abs=0.08)


def test_a_voice_that_returns_has_changed_twice() -> None:
    assert changes(["cartesia", "cartesia", "elevenlabs", "cartesia"]) == 2
    assert changes([]) == 0


def judge_turn(verdict: ReplyVerdict, *asked: str) -> JudgedTurn:
    requests = tuple(
        TurnRequest(provider=text, at_s=0.5, outcome="done", fault=None) for text in asked
    )
    return JudgedTurn(turn=TURN, verdict=verdict, requests=requests, recording=silence(1.0))


@pytest.mark.parametrize(
    ("sentences", "cut", "whole"),
    [
        (2, slice(None), True),  # the model wrote more, and the reply ended with a sentence
        (2, slice(None, -1), False),  # in the middle of one
        (2, slice(1, None), False),  # its first word is missing
        (0, slice(None), False),
    ],
)
def test_an_endless_models_reply_may_end_with_any_sentence(
    sentences: int, cut: slice, *, whole: bool
) -> None:
    written = [f"This is sentence {number}." for number in range(4)]
    heard = " ".join(written[:sentences]).split()[cut]
    words = tuple(recorded(word, float(at_s)) for at_s, word in enumerate(heard))
    text = " ".join(written)
    missing, extra = compare_words(words, text)
    verdict = replace(whole_reply().judged(), words=words, missing=missing, extra=extra)
    turn = replace(TURN, answer=text)

    ended = as_ended(replace(judge_turn(verdict), turn=turn))

    assert not verdict.whole
    assert ended.verdict.whole is whole


def recorded(word: str, at_s: float) -> RecordedWord:
    return RecordedWord(
        text=word,
        provider="cartesia",
        request=1,
        at_s=at_s,
        end_s=at_s + 0.5,
        after_s=at_s,
        until_s=at_s + 0.5,
    )
