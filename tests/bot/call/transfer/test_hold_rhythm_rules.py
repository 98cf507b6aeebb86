"""Sounds for a caller who waits for a person."""

from hypothesis import given
from hypothesis import strategies as st

from bot.call.transfer.hold_rhythm_rules import WORD_EVERY_S, HoldRhythm, HoldSound
from calls.line import CallerLine
from processors.turn.floor import Floor

TONE_S = 1.6
WORD_S = 1.5


def played(rhythm: HoldRhythm, *, since: float, until: float) -> list[tuple[float, HoldSound]]:
    """Return the played sounds with their start times."""
    dry_at, sounds = since, list[tuple[float, HoldSound]]()
    while (at := rhythm.wake_at(dry_at)) is not None and at < until:
        sound = rhythm.tick(at, dry_at)
        assert sound is not None
        sounds.append((max(at, dry_at), sound))
        dry_at = max(at, dry_at) + (TONE_S if sound is HoldSound.TONE else WORD_S)
    return sounds


def test_tones_are_played_with_a_sentence_every_ten_seconds() -> None:
    rhythm = HoldRhythm(Floor(CallerLine()))
    rhythm.start(100.0)

    words = [at for at, each in played(rhythm, since=100.0, until=131.0) if each == HoldSound.WORD]

    assert len(words) == 2
    assert WORD_EVERY_S <= words[1] - words[0] <= WORD_EVERY_S + TONE_S


def test_a_caller_who_asks_again_hears_a_sentence_next() -> None:
    rhythm = HoldRhythm(Floor(CallerLine()))
    rhythm.start(100.0)
    rhythm.hurry(103.0)

    (at, word), *_ = played(rhythm, since=104.6, until=110.0)  # after a tone

    assert (at, word) == (104.6, HoldSound.WORD)


def test_nothing_is_played_before_or_after_the_wait() -> None:
    rhythm = HoldRhythm(Floor(CallerLine()))
    assert rhythm.wake_at(100.0) is None
    rhythm.start(100.0)
    rhythm.stop()

    assert rhythm.tick(200.0, 100.0) is None


def test_nothing_is_played_over_a_speaking_caller() -> None:
    floor = Floor(CallerLine())
    rhythm = HoldRhythm(floor)
    rhythm.start(100.0)
    floor.caller_started(104.0)

    assert rhythm.tick(105.0, 100.0) is None
    floor.caller_stopped(104.5, now=104.7)
    assert rhythm.tick(105.0, 100.0) == HoldSound.TONE


@given(speech=st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 4)), max_size=6))
def test_the_line_never_runs_dry_while_a_caller_waits(speech: list[tuple[float, float]]) -> None:
    """Tones continue as soon as the agent is quiet."""
    rhythm = HoldRhythm(Floor(CallerLine()))
    rhythm.start(0.0)
    now = dry_at = 0.0
    for pause_s, length_s in speech:
        until = now + pause_s
        while (at := rhythm.wake_at(dry_at)) is not None and at < until:
            now = max(now, at)
            assert now <= dry_at  # there was no gap
            assert rhythm.tick(now, dry_at) is not None
            dry_at += TONE_S
        now = until
        dry_at = max(now, dry_at) + length_s
