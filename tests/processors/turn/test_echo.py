"""Our own voice on the caller's line is distinguished from the caller's."""

import numpy as np
import pytest

from lab.callers import Pcm, caller_says, decode, encode
from lab.simulators.voices.voices import speak_now, voice_of
from processors.turn.echo import EchoEar
from tests.kit.clock import HandClock

RATE_HZ = 8000
WINDOW = 256
PIECE = 320  # of the output
DELAY_S = 0.3
ANSWER = (
    "We open at nine. From Monday to Friday we are here until six in the evening, on Saturday"
    " from ten in the morning until two, and on Sunday we are closed."
)
CALLER = "Wait a moment please, what about the day after tomorrow, and how much is a haircut?"


def agent_says(text: str) -> Pcm:
    return speak_now(text, voice=voice_of("cartesia"), rate_hz=RATE_HZ).samples.astype(np.int16)


def echo_of(ours: Pcm, level_db: float | None) -> Pcm:
    delay = np.zeros(round(DELAY_S * RATE_HZ), np.int16)
    if level_db is None:
        return np.concatenate([delay, np.zeros_like(ours)])
    weaker = (ours * 10 ** (level_db / 20)).astype(np.int16)
    return np.concatenate([delay, weaker])


def on_the_line(theirs: Pcm) -> Pcm:
    return decode(encode(theirs))


def loudness(sound: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(sound.astype(np.float64)))))


def played(
    ours: Pcm,
    theirs: Pcm,
    *,
    learns: bool = True,
    loud: Pcm | None = None,
    missing: tuple[float, float] = (0.0, 0.0),
) -> list[tuple[bool, bool]]:
    """Return for each audible window of the caller's whether it begins or continues an echo."""
    clock = HandClock(1000.0)
    ear, found, sent = EchoEar(clock), list[tuple[bool, bool]](), 0
    ear.set_rate(RATE_HZ)
    for end in range(WINDOW, theirs.size + 1, WINDOW):
        while sent < min(end, ours.size):
            clock.now = 1000.0 + sent / RATE_HZ
            ear.hear_agent(ours[sent : sent + PIECE].tobytes())
            sent += PIECE
        clock.now = 1000.0 + end / RATE_HZ
        if missing[0] <= end / RATE_HZ < missing[1]:
            found.clear()  # only what follows is asked for
            continue
        window = theirs[end - WINDOW : end]
        ear.hear_caller(window)
        goes_on = ear.goes_on(2 * WINDOW)
        begins = ear.begins()
        if not learns:
            ear.delay = None
        heard = theirs if loud is None else loud
        if loudness(heard[max(0, end - 6 * WINDOW) : end]) > 100 and loudness(
            heard[end - WINDOW : end]
        ) > (30 if loud is None else 1000):
            found.append((begins, goes_on))
    return found


@pytest.mark.parametrize("level_db", [-12.0, -24.0])
def test_our_own_voice_is_recognised_wherever_it_begins(level_db: float) -> None:
    ours = agent_says(ANSWER)

    found = played(ours, on_the_line(echo_of(ours, level_db)), learns=False)

    assert len(found) > 200
    assert np.mean([begins for begins, _ in found]) > 0.9


def test_our_echo_is_recognised_again_after_a_gap_in_the_callers_audio() -> None:
    ours = agent_says(ANSWER)

    found = played(ours, on_the_line(echo_of(ours, -12.0)), missing=(3.0, 5.0))

    assert len(found) > 50
    assert np.mean([begins for begins, _ in found[12:]]) > 0.8


@pytest.mark.parametrize("level_db", [-12.0, -24.0])
def test_our_echo_stays_recognised_at_the_known_delay(level_db: float) -> None:
    ours = agent_says(ANSWER)

    found = played(ours, on_the_line(echo_of(ours, level_db)))

    assert np.mean([goes_on for _, goes_on in found[8:]]) > 0.9


@pytest.mark.parametrize("level_db", [None, -12.0, -24.0])
def test_a_caller_who_speaks_over_our_echo_is_not_taken_for_the_echo(
    level_db: float | None,
) -> None:
    ours = agent_says(ANSWER)
    echo, caller = echo_of(ours, level_db), caller_says(CALLER)
    theirs = echo.copy()
    theirs[: caller.size] = (theirs[: caller.size].astype(np.int32) + caller).clip(-32768, 32767)

    found = played(ours, on_the_line(theirs)[: caller.size], loud=caller)

    assert len(found) > 50
    assert np.mean([begins or goes_on for begins, goes_on in found]) < 0.06


def test_without_our_voice_nothing_is_an_echo() -> None:
    found = played(np.zeros(0, np.int16), caller_says(CALLER))

    assert not any(begins or goes_on for begins, goes_on in found)
