"""One utterance on the voices' ladder, with numbers for time and numbers for sound."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.line import CallerLine
from fallbacks.deadline import Deadline
from fallbacks.failure import Kind, failed
from fallbacks.ladder import Pace
from fallbacks.roster import Place, Roster
from fallbacks.work import StagePolicy, Work
from processors.tts_steps import Ask, Close, Do, More, Mute, Over, Play, Said, Won
from processors.tts_work import DONE_S, IDLE_S, TtsWork

pytestmark = pytest.mark.virtual_time

RATE_HZ = 1000  # a sample is a millisecond
WORD = 300  # samples
TEXT: str = "zero one two three four five six seven"
NAMES = ("first", "second", "third", "fourth")


def tone(words: list[str]) -> np.ndarray:
    """The sound of words: each sample says which word of TEXT it belongs to, and its place."""
    numbers = [TEXT.split().index(word) + 1 for word in words]
    return (np.repeat(numbers, WORD) * 1000 + np.tile(np.arange(WORD), len(words))).astype("<i2")


@dataclass
class Bench:
    """An utterance, with everything that it did."""

    now: float = 100.0
    done: list[Do] = field(default_factory=list)
    told: list[object] = field(default_factory=list)
    line: CallerLine = field(default_factory=CallerLine)
    names: tuple[str, ...] = NAMES

    def __post_init__(self) -> None:
        places = [Place(stage="tts", provider=name, credential=name) for name in self.names]
        self.policy = StagePolicy(
            stage="tts",
            roster=Roster(places, now=self.now, priors_s={"tts": 0.3}),
            pace=Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4),
        )
        work = Work(self.policy, tell=self.told.append, numbers=itertools.count(1))
        times = dict.fromkeys(self.names, True)
        self.work = TtsWork(work, line=self.line, rate_hz=RATE_HZ, word_times=times)

    def start(self, text: str = TEXT, *, closed: bool = True) -> Ask:
        self.work.start(text, Deadline(at=self.now + 4.0), now=self.now)
        if closed:
            self.work.close(self.now)
        return self.asks[0]

    def pass_s(self, seconds: float) -> None:
        """Let time pass, ringing the alarm whenever it is due."""
        until = self.now + seconds
        while (at := self.work.wake_at) is not None and at <= until:
            self.now = max(self.now, at)
            self.work.tick(self.now)
        self.now = until

    def speak(self, ask: Ask, samples: int | None = None, *, text: str = "") -> None:
        """Have a voice send the sound of so many samples of what it was asked, and the times."""
        words = (text or ask.text).split()
        sound = tone(words)[:samples]
        for n, word in enumerate(words):
            if n * WORD < len(sound):
                start_s, end_s = n * WORD / RATE_HZ, (n + 1) * WORD / RATE_HZ
                self.work.word(ask.attempt, word, start_s=start_s, end_s=end_s, now=self.now)
        for piece in range(0, len(sound), 70):
            self.work.sound(ask.attempt, sound[piece : piece + 70].tobytes(), self.now)

    def fail(self, ask: Ask, kind: Kind = Kind.CUT) -> None:
        self.work.failed(ask.attempt, failed(kind, "tts", provider=ask.provider), self.now)

    def of(self, kind: type[Do]) -> list[Do]:
        return [each for each in self.work.todo if isinstance(each, kind)]

    @property
    def asks(self) -> list[Ask]:
        return [each for each in self.work.todo if isinstance(each, Ask)]

    @property
    def said(self) -> str:
        return " ".join(each.word for each in self.work.todo if isinstance(each, Said))

    @property
    def heard(self) -> np.ndarray:
        """The words of which the line got sound, a number for each sample."""
        pcm = b"".join(each.pcm for each in self.work.todo if isinstance(each, Play))
        return np.frombuffer(pcm, "<i2") // 1000 - 1

    @property
    def whole(self) -> list[int]:
        """How many samples of each word the line got."""
        return [int((self.heard == n).sum()) for n in range(len(TEXT.split()))]


def test_a_healthy_voice_is_heard_whole_and_each_word_follows_its_sound() -> None:
    bench = Bench()
    ask = bench.start()

    bench.speak(ask)
    bench.work.spoken(ask.attempt, bench.now)

    assert bench.said == TEXT
    assert bench.whole == [WORD] * 8
    assert bench.of(Over) == [Over(unsaid="")]
    assert bench.of(Won) == [Won(provider="first")]
    assert bench.work.over


def test_the_next_voice_is_asked_for_exactly_the_rest() -> None:
    bench = Bench()
    ask = bench.start()

    bench.speak(ask, 4 * WORD + 100)
    bench.fail(ask)

    assert bench.asks[1].text == "four five six seven"
    assert (bench.asks[1].provider, bench.asks[1].closed) == ("second", True)
    assert Mute(provider="first") in bench.work.todo


def test_what_a_dead_voice_sends_late_is_dropped() -> None:
    bench = Bench()
    first = bench.start()
    bench.speak(first, 2 * WORD + 100)
    bench.fail(first)

    bench.speak(first)
    bench.speak(bench.asks[1])
    bench.work.spoken(bench.asks[1].attempt, bench.now)

    assert bench.said == TEXT
    assert bench.whole == [WORD] * 8


def test_the_sound_of_a_race_is_held_until_it_is_won_and_the_late_one_may_still_go_on() -> None:
    bench = Bench()
    first = bench.start()
    bench.speak(first, 2 * WORD)
    bench.pass_s(0.45)
    second = bench.asks[1]
    bench.work.sound(second.attempt, bytes(20), bench.now)  # silence wins no race

    bench.speak(first)  # as if it had begun again; the first two words come twice to nobody
    assert Mute(provider="second") in bench.work.todo
    assert bench.of(Won) == [Won(provider="first")]


def test_a_late_voice_is_replaced_and_each_word_is_heard_once() -> None:
    bench = Bench()
    first = bench.start()
    bench.speak(first, 2 * WORD + 150)
    bench.pass_s(0.41)
    second = bench.asks[1]

    bench.speak(second)
    bench.speak(first)
    bench.work.spoken(second.attempt, bench.now)

    assert bench.said == TEXT
    assert bench.whole[3:] == [WORD] * 5


@pytest.mark.parametrize("told", [False, True], ids=["sends nothing", "sends a word's time"])
def test_half_a_word_that_another_voice_is_asked_for_is_held_meanwhile(*, told: bool) -> None:
    bench = Bench()
    first = bench.start()
    bench.speak(first, 2 * WORD + 150)
    bench.pass_s(0.41)
    second = bench.asks[1]

    if told:
        bench.work.word(first.attempt, "three", start_s=0.9, end_s=1.2, now=bench.now)
    bench.pass_s(0.19)  # the line runs dry, and half a word would be better than nothing
    held = bench.whole
    bench.speak(second)
    bench.work.spoken(second.attempt, bench.now)

    assert second.text == "two three four five six seven"
    assert held == [WORD, WORD] + [0] * 6
    assert bench.whole == [WORD] * 8
    assert bench.said == TEXT


def test_what_was_held_of_a_late_voice_is_let_go_when_it_speaks_again() -> None:
    bench = Bench()
    first = bench.start()
    bench.speak(first, 2 * WORD + 150)
    bench.pass_s(0.41)

    rest = tone(TEXT.split())[2 * WORD + 150 :]
    for n in range(3, 8):
        start_s, end_s = n * WORD / RATE_HZ, (n + 1) * WORD / RATE_HZ
        bench.work.word(first.attempt, TEXT.split()[n], start_s=start_s, end_s=end_s, now=bench.now)
    bench.work.sound(first.attempt, rest.tobytes(), bench.now)
    before_its_end = bench.whole
    bench.work.spoken(first.attempt, bench.now)

    assert len(bench.asks) == 2
    assert before_its_end[:7] == [WORD] * 7
    assert bench.of(Won) == [Won(provider="first")]
    assert bench.whole == [WORD] * 8
    assert bench.said == TEXT


def test_text_that_comes_during_a_failover_reaches_the_one_that_speaks() -> None:
    bench = Bench()
    first = bench.start("zero one two", closed=False)
    bench.speak(first, WORD + 100)
    bench.fail(first)
    second = bench.asks[1]

    bench.work.hand_over("three four", bench.now)
    bench.speak(second, text="one two three four")
    bench.work.close(bench.now)
    bench.work.spoken(second.attempt, bench.now)

    assert bench.of(More) == [More(provider="second", text="three four")]
    assert bench.of(Close) == [Close(provider="second")]
    assert bench.said == "zero one two three four"


def test_a_voice_that_takes_over_is_not_idle_because_the_one_before_was() -> None:
    bench = Bench()
    first = bench.start("zero one two", closed=False)
    bench.speak(first)  # the sound of every word, but no more: the last one is not sure
    bench.pass_s(0.1)
    bench.fail(first)
    second = bench.asks[1]

    bench.work.hand_over("three four", bench.now)
    bench.work.close(bench.now)
    bench.speak(second, WORD, text=f"{second.text} three four")
    bench.pass_s(DONE_S - 0.1)

    assert not bench.work.over
    assert "four" not in bench.said


def test_a_voice_that_says_it_is_done_too_early_was_cut() -> None:
    bench = Bench()
    ask = bench.start()

    bench.speak(ask, 3 * WORD)
    bench.work.spoken(ask.attempt, bench.now)

    assert len(bench.asks) == 2
    assert bench.asks[1].text.endswith("three four five six seven")


def test_a_voice_that_never_says_it_is_done_is_done_all_the_same() -> None:
    bench = Bench()
    ask = bench.start()

    bench.speak(ask)
    bench.pass_s(DONE_S + 0.1)

    assert bench.work.over
    assert bench.said == TEXT
    assert len(bench.asks) == 1


def test_a_reply_that_pauses_is_closed_before_the_provider_forgets_it() -> None:
    bench = Bench()
    ask = bench.start("zero one", closed=False)

    bench.speak(ask)
    bench.pass_s(IDLE_S + 0.05)

    assert bench.of(Close) == [Close(provider="first")]
    assert not bench.work.accepts
    assert len(bench.asks) == 1


def test_a_cut_behind_the_last_word_is_no_failure() -> None:
    bench = Bench()
    ask = bench.start("zero one", closed=False)
    bench.speak(ask)
    bench.pass_s(0.49)  # the line has had the last word

    bench.fail(ask)

    assert bench.said == "zero one"
    assert bench.of(Over) == [Over(unsaid="")]
    assert len(bench.asks) == 1


def test_with_nobody_left_whole_words_are_heard_and_the_rest_is_told() -> None:
    bench = Bench(names=("first",))
    first = bench.start()
    bench.speak(first, 2 * WORD + 100)

    bench.fail(first, Kind.AUTH)

    assert bench.said == "zero one"
    assert bench.whole == [WORD, WORD] + [0] * 6
    assert bench.of(Over) == [Over(unsaid="two three four five six seven")]


def test_a_stopped_utterance_asks_nobody_and_counts_no_failure() -> None:
    bench = Bench()
    ask = bench.start()
    bench.speak(ask, WORD)

    bench.work.stop(bench.now)

    assert bench.of(Mute) == [Mute(provider="first")]
    assert bench.work.over
    assert not bench.policy.roster.health("tts", "first").suspect_since


def test_the_last_half_word_is_let_go_before_the_line_runs_dry() -> None:
    bench = Bench()
    ask = bench.start()
    bench.speak(ask, 2 * WORD + 150)
    before = bench.whole

    bench.pass_s(0.3)
    bench.speak(ask, 1)  # a sign of life
    bench.pass_s(0.3)

    assert before[2] < 150
    assert bench.whole[2] >= 150


@given(
    cuts=st.lists(st.integers(min_value=1, max_value=8 * WORD - 60), max_size=3),
    how=st.lists(st.sampled_from([Kind.CUT, Kind.OVERLOADED, Kind.NETWORK]), min_size=3),
)
@pytest.mark.parametrize("pause_s", [0.0, 0.05], ids=["at once", "after a moment"])
def test_wherever_the_voices_are_cut_every_word_is_heard_once_and_in_order(
    cuts: list[int], how: list[Kind], pause_s: float
) -> None:
    bench = Bench()
    ask = bench.start()
    bench.line.add(60.0, now=bench.now)  # enough is queued: half words need not go out
    for cut, kind in zip(cuts, how, strict=False):
        if cut >= WORD * len(ask.text.split()) - 60:
            continue
        bench.speak(ask, cut)
        bench.pass_s(pause_s)
        bench.fail(ask, kind)
        ask = bench.asks[-1]

    bench.speak(ask)
    bench.work.spoken(ask.attempt, bench.now)

    assert bench.said == TEXT
    assert bench.whole == [WORD] * 8
    assert (np.diff(bench.heard) >= 0).all()
