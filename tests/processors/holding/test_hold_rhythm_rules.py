"""Sounds for a caller who waits for a person."""

from hypothesis import given
from hypothesis import strategies as st

from calls.line import CallerLine
from processors.holding.hold_rhythm_rules import LEAD_S, WORD_EVERY_S, HoldRhythm, HoldSound
from processors.turn.floor import Floor

LENGTH_S = {HoldSound.TONE: 1.6, HoldSound.WORD: 1.5}


class Waiting(HoldRhythm):
    """The rhythm on a line on which it plays; the announcement is heard until `dry_at`."""

    def __init__(self, *, dry_at: float) -> None:
        self.line = CallerLine()
        self.line.add(1.0, dry_at - 1.0)
        self.floor = Floor(self.line)
        super().__init__(self.floor)
        self.start(dry_at)

    def played(self, *, until: float) -> list[tuple[float, HoldSound]]:
        """Return the sounds that are played by then, with their start times."""
        sounds = list[tuple[float, HoldSound]]()
        while (at := self.wake_at) is not None and at < until:
            (sound,) = self.tick(at)
            sounds.append((self.line.dry_at, sound))
            self.line.add(LENGTH_S[sound], at)
        return sounds


def test_tones_are_played_with_a_sentence_every_ten_seconds() -> None:
    sounds = Waiting(dry_at=100.0).played(until=131.0)

    words = [at for at, each in sounds if each is HoldSound.WORD]
    assert len(words) == 2
    assert WORD_EVERY_S <= words[1] - words[0] <= WORD_EVERY_S + LENGTH_S[HoldSound.TONE]


def test_a_caller_who_asks_again_hears_a_sentence_next() -> None:
    waiting = Waiting(dry_at=100.0)
    waiting.played(until=101.0)  # a tone
    waiting.hurry(101.2)

    assert waiting.played(until=102.0) == [(101.6, HoldSound.WORD)]


def test_nothing_is_played_before_or_after_the_wait() -> None:
    assert HoldRhythm(Floor(CallerLine())).wake_at is None
    waiting = Waiting(dry_at=100.0)
    waiting.stop()

    assert waiting.tick(200.0) == ()


def test_nothing_is_played_over_a_speaking_caller() -> None:
    waiting = Waiting(dry_at=100.0)
    waiting.floor.caller_started(104.0)

    assert waiting.tick(105.0) == ()
    waiting.floor.caller_stopped(104.5, now=104.7)
    assert waiting.tick(105.0) == (HoldSound.TONE,)


@given(speech=st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 4)), max_size=6))
def test_the_line_never_runs_dry_while_a_caller_waits(speech: list[tuple[float, float]]) -> None:
    waiting = Waiting(dry_at=1.0)
    now = 0.0
    for pause_s, length_s in speech:
        now += pause_s
        waiting.played(until=now)
        assert waiting.line.dry_at >= now - LEAD_S  # there was no gap
        waiting.line.add(length_s, now)
