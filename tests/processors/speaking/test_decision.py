"""One utterance on the TTS ladder, with numbers for time and sound."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.line import CallerLine
from fallbacks.attempt_events import EmitEvent, Failed, Finished, Use
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import State
from fallbacks.deadline import Deadline
from fallbacks.events import AttemptFailed, FallbackEvent, StageExhausted, WordsTimed
from fallbacks.failure import Kind, Scope, Severity, failed
from fallbacks.ladder import StagePolicy
from fallbacks.lag import PERIOD_S
from fallbacks.paces import PACES
from fallbacks.tts_times import (
    ALIGN_LONG_S,
    ALIGN_S,
    NEXT_VOICE_S,
    NO_TEXT_S,
    REPORT_END_S,
    STALL_S,
    UNTIMED_END_S,
)
from fallbacks.word_times import CHARACTER_S
from processors.speaking.alignment_rules import AlignSound, SoundAligned
from processors.speaking.decision import SpokenUtterance
from processors.speaking.ledger_rules import (
    HELD_S,
    SHORTEST_PAUSE_S,
    PlaySound,
    PlayWord,
    SoundCame,
    WordTimed,
)
from processors.speaking.speech_actions import (
    AddSentence,
    AskVoice,
    EndSpeech,
    EndText,
    MuteVoice,
    SpeechAction,
)
from tests.thoroughness import promised

pytestmark = pytest.mark.virtual_time

RATE_HZ = 1000  # a sample is a millisecond
WORD = 300  # samples
TEXT: str = "zero one two three four five six seven"
NAMES = ("first", "second", "third", "fourth")


def tone(words: Sequence[str]) -> np.ndarray:
    """The sound of words: each sample has its word of TEXT and its place."""
    numbers = [TEXT.split().index(word) + 1 for word in words]
    return (np.repeat(numbers, WORD) * 1000 + np.tile(np.arange(WORD), len(words))).astype("<i2")


Align = Callable[[AlignSound], Sequence[float] | None]


def unknown(_: AlignSound) -> None:
    """An aligner without a result."""


@dataclass
class Bench:
    """An utterance, with all its actions."""

    now: float = 100.0
    done: list[SpeechAction] = field(default_factory=list)
    line: CallerLine = field(default_factory=CallerLine)
    names: tuple[str, ...] = NAMES
    left_s: float = 4.0
    align: Align = unknown

    def __post_init__(self) -> None:
        places = [Place(stage="tts", provider=name, credential=name) for name in self.names]
        self.policy = StagePolicy(
            stage="tts",
            availability=AvailabilityTable(places, now=self.now, priors_s={"tts": 0.3}),
            pace=PACES["tts"],
        )
        self.begin(itertools.count(1))

    def begin(self, call: Iterator[int]) -> None:
        """Start the next utterance, in a call with these numbers of attempts."""
        work = Attempting(self.policy, numbers=call)
        self.speech = SpokenUtterance(
            work, line=self.line, rate_hz=RATE_HZ, until=Deadline(at=self.now + self.left_s)
        )

    def start(self, text: str = TEXT, *, closed: bool = True) -> AskVoice:
        self.do(self.speech.start(text, self.now))
        if closed:
            self.close()
        return self.asks[0]

    def add(self, sentence: str) -> None:
        self.do(self.speech.add(sentence, self.now))

    def do(self, actions: Sequence[SpeechAction]) -> None:
        """Keep the actions; answer requests for an alignment at once, if there is an answer."""
        self.done += actions
        for asked in actions:
            ends_s = self.align(asked) if isinstance(asked, AlignSound) else None
            if isinstance(asked, AlignSound) and (ends_s is not None or asked.ended):
                ends = None if ends_s is None else tuple(asked.from_s + end_s for end_s in ends_s)
                aligned = SoundAligned(attempt=asked.attempt, asked=asked, ends_s=ends)
                self.do(self.speech.handle(aligned, self.now))

    def close(self) -> None:
        self.do(self.speech.end_text(self.now))

    def pass_s(self, seconds: float) -> None:
        """Let time pass, ringing the alarm whenever it is due."""
        until = self.now + seconds
        while (at := self.speech.wake_at) is not None and at <= until:
            self.now = max(self.now, at)
            self.do(self.speech.tick(self.now))
        self.now = until

    def speak(self, ask: AskVoice, samples: int | None = None, *, text: str = "") -> None:
        """Let a voice send this many samples of the requested text, and the times."""
        words = (text or ask.rest).split()
        sound = tone(words)[:samples]
        for n, word in enumerate(words):
            if n * WORD < len(sound):
                self.time(ask, word, n)
        for piece in range(0, len(sound), 70):
            self.sound(ask, sound[piece : piece + 70])

    def sound(self, ask: AskVoice, samples: np.ndarray) -> None:
        came = SoundCame(attempt=ask.attempt, pcm=samples.tobytes(), speaking=bool(np.any(samples)))
        self.do(self.speech.handle(came, self.now))

    def time(self, ask: AskVoice, word: str, n: int) -> None:
        """Let a voice report when its nth word is spoken."""
        start_s, end_s = n * WORD / RATE_HZ, (n + 1) * WORD / RATE_HZ
        timed = WordTimed(attempt=ask.attempt, text=word, start_s=start_s, end_s=end_s)
        self.do(self.speech.handle(timed, self.now))

    def end_text(self, ask: AskVoice) -> None:
        self.do(self.speech.handle(Finished(attempt=ask.attempt, more=True), self.now))

    def finish(self, ask: AskVoice) -> None:
        self.do(self.speech.handle(Finished(attempt=ask.attempt), self.now))

    def fail(self, ask: AskVoice, kind: Kind = Kind.CUT) -> None:
        failure = failed(kind, "tts", provider=ask.provider)
        event = Failed(attempt=ask.attempt, failure=failure)
        self.do(self.speech.handle(event, self.now))

    def of(self, kind: type[SpeechAction]) -> list[SpeechAction]:
        return [item for item in self.done if isinstance(item, kind)]

    @property
    def facts(self) -> list[FallbackEvent]:
        return [action.fact for action in self.done if isinstance(action, EmitEvent)]

    @property
    def failures(self) -> list[AttemptFailed]:
        return [fact for fact in self.facts if isinstance(fact, AttemptFailed)]

    @property
    def asks(self) -> list[AskVoice]:
        return [item for item in self.done if isinstance(item, AskVoice)]

    @property
    def asked_alignments(self) -> list[AlignSound]:
        return [item for item in self.done if isinstance(item, AlignSound)]

    @property
    def said(self) -> str:
        return " ".join(item.word for item in self.done if isinstance(item, PlayWord))

    @property
    def heard(self) -> np.ndarray:
        """The words whose sound the line got, a number for each sample."""
        pcm = b"".join(item.pcm for item in self.done if isinstance(item, PlaySound))
        return np.frombuffer(pcm, "<i2") // 1000 - 1

    @property
    def whole(self) -> list[int]:
        """How many samples of each word the line got."""
        return [int((self.heard == n).sum()) for n in range(len(TEXT.split()))]


def begun(text: str = TEXT, *, closed: bool = True) -> tuple[Bench, AskVoice]:
    bench = Bench()
    return bench, bench.start(text, closed=closed)


def untimed(align: Align = unknown) -> Bench:
    """Return an utterance of voices without word times."""
    bench = Bench(align=align)
    bench.policy.untimed = frozenset(NAMES)
    return bench


def test_a_healthy_voice_is_heard_whole_and_each_word_follows_its_sound() -> None:
    bench, ask = begun()

    bench.speak(ask)
    bench.finish(ask)

    assert bench.said == TEXT
    assert bench.whole == [WORD] * 8
    assert bench.of(EndSpeech) == [EndSpeech(unsaid="")]
    assert bench.of(Use) == [Use(attempt=1, provider="first")]
    assert bench.speech.over


def test_the_next_voice_is_asked_for_exactly_the_rest() -> None:
    bench, ask = begun()

    bench.speak(ask, 4 * WORD + 100)
    bench.fail(ask)

    assert bench.asks[1].rest == "four five six seven"
    assert (bench.asks[1].provider, bench.asks[1].closed) == ("second", True)
    assert MuteVoice(provider="first") in bench.done


def test_the_sound_of_a_race_is_held_until_it_is_won_and_the_late_voice_may_continue() -> None:
    bench, first = begun()
    bench.speak(first, 2 * WORD)
    bench.pass_s(0.45)
    second = bench.asks[1]
    bench.sound(second, np.zeros(10, "<i2"))  # silence does not win a race

    bench.speak(first)  # as if it had begun again; the line gets the first two words once
    assert MuteVoice(provider="second") in bench.done
    assert bench.of(Use) == [Use(attempt=1, provider="first")]


@pytest.mark.parametrize("spoken", [0, 2], ids=["from the start", "in mid-speech"])
def test_the_only_voice_is_not_asked_again_while_it_is_only_a_little_late(spoken: int) -> None:
    bench = Bench(names=("only",))
    ask = bench.start()
    if spoken:
        bench.speak(ask, spoken * WORD)
    bench.pass_s(0.55)

    sound = tone(TEXT.split())[spoken * WORD :]
    bench.sound(ask, sound)
    bench.finish(ask)

    assert bench.asks == [ask]
    assert bench.failures == []
    assert bench.whole == [WORD] * 8


def test_the_only_voice_is_asked_again_when_its_patience_has_ended() -> None:
    bench = Bench(names=("only",))
    first = bench.start()
    bench.pass_s(0.65)
    second = bench.asks[1]
    bench.speak(second)
    bench.finish(second)

    assert [failure.attempt for failure in bench.failures] == [first.attempt]
    assert bench.said == TEXT
    steps = [type(item) for item in bench.done if isinstance(item, AskVoice | MuteVoice)]
    assert steps == [AskVoice, MuteVoice, AskVoice]


def test_after_another_voice_has_died_the_last_one_is_not_asked_twice_at_once() -> None:
    bench = Bench(names=("first", "second"))
    bench.fail(bench.start(), Kind.NETWORK)
    last = bench.asks[1]
    bench.pass_s(0.5)
    bench.speak(last)
    bench.finish(last)

    assert [ask.provider for ask in bench.asks] == ["first", "second"]
    assert bench.said == TEXT


def test_a_late_voice_is_replaced_and_each_word_is_heard_once() -> None:
    bench, first = begun()
    bench.speak(first, 2 * WORD + 150)
    bench.pass_s(0.41)
    second = bench.asks[1]

    bench.speak(second)
    bench.speak(first)
    bench.finish(second)

    assert bench.said == TEXT
    assert bench.whole[3:] == [WORD] * 5


@pytest.mark.parametrize("told", [False, True], ids=["sends nothing", "sends a word's time"])
def test_a_partial_word_requested_from_another_voice_is_held_meanwhile(*, told: bool) -> None:
    bench, first = begun()
    bench.speak(first, 2 * WORD + 150)
    bench.pass_s(0.41)
    second = bench.asks[1]

    if told:
        bench.time(first, "three", 3)
    bench.pass_s(0.19)  # the line runs dry, and half a word would be better than nothing
    held = bench.whole
    bench.speak(second)
    bench.finish(second)

    assert second.rest == "two three four five six seven"
    assert held == [WORD, WORD] + [0] * 6
    assert bench.whole == [WORD] * 8
    assert bench.said == TEXT


@pytest.mark.parametrize("fails", [False, True])
def test_a_word_whose_time_comes_after_another_voice_was_asked_for_it_is_heard_once(
    *, fails: bool
) -> None:
    bench = Bench()
    bench.line.add(60.0, now=bench.now)
    first = bench.start()
    bench.speak(first, 2 * WORD)
    bench.sound(first, tone(["two", "three"])[: WORD + 100])
    bench.pass_s(0.45)
    second = bench.asks[1]

    bench.time(first, "two", 2)
    if fails:
        bench.fail(first)
    bench.speak(second)
    bench.finish(second)

    assert second.rest == "two three four five six seven"
    assert bench.whole == [WORD] * 8
    assert bench.said == TEXT


def test_held_sound_of_a_late_voice_is_released_when_it_speaks_again() -> None:
    bench, first = begun()
    bench.speak(first, 2 * WORD + 150)
    bench.pass_s(0.41)

    rest = tone(TEXT.split())[2 * WORD + 150 :]
    for n in range(3, 8):
        bench.time(first, TEXT.split()[n], n)
    bench.sound(first, rest)
    before_its_end = bench.whole
    bench.finish(first)

    assert len(bench.asks) == 2
    assert before_its_end[:7] == [WORD] * 7
    assert bench.of(Use) == [Use(attempt=1, provider="first")]
    assert bench.whole == [WORD] * 8
    assert bench.said == TEXT


def test_text_that_comes_during_a_failover_reaches_the_new_voice() -> None:
    bench, first = begun("zero one two", closed=False)
    bench.speak(first, WORD + 100)
    bench.fail(first)
    second = bench.asks[1]

    bench.add("three four")
    bench.speak(second, text="one two three four")
    bench.close()
    bench.finish(second)

    assert bench.of(AddSentence) == [AddSentence(provider="second", sentence="three four")]
    assert bench.of(EndText) == [EndText(provider="second")]
    assert bench.said == "zero one two three four"


def test_a_voice_that_takes_over_is_not_idle_because_the_previous_one_was() -> None:
    bench, first = begun("zero one two", closed=False)
    bench.speak(first)  # the sound of every word, but no more: the last one is not sure
    bench.pass_s(0.1)
    bench.fail(first)
    second = bench.asks[1]

    bench.add("three four")
    bench.close()
    bench.speak(second, WORD, text=f"{second.rest} three four")
    bench.pass_s(REPORT_END_S - 0.1)

    assert not bench.speech.over
    assert "four" not in bench.said


PIECE = 100  # samples
ESTIMATE_S = CHARACTER_S * (len(TEXT) + 1)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("names", [("first",), NAMES])
@pytest.mark.parametrize("pause_s", [0.0, 2.9])
@pytest.mark.parametrize("pace", [0.9, 0.3])
def test_a_slow_voice_without_word_times_is_heard_to_its_own_end(
    pace: float, pause_s: float, names: tuple[str, ...], *, closed: bool
) -> None:
    bench = Bench(names=names)
    bench.policy.untimed = frozenset(names)
    ask = bench.start(closed=closed)
    pieces = round(ESTIMATE_S / pace * RATE_HZ / PIECE)
    for piece in range(pieces):
        bench.sound(ask, np.full(PIECE, 1000, "<i2"))
        bench.pass_s(pause_s if piece == pieces - 2 else PIECE / RATE_HZ)
    bench.finish(ask)

    played = b"".join(sound.pcm for sound in bench.of(PlaySound) if isinstance(sound, PlaySound))
    assert len(played) == 2 * PIECE * pieces
    assert (bench.said, bench.asks, bench.failures) == (TEXT, [ask], [])
    assert bench.speech.over


@pytest.mark.parametrize("then", ["nothing", "silence"])
def test_a_voice_without_word_times_that_reports_no_end_is_done_after_its_last_speech(
    then: str,
) -> None:
    bench = Bench(align=lambda asked: [len(asked.pcm) / 2 / RATE_HZ] * len(asked.words))
    bench.policy.untimed = frozenset(NAMES)
    ask = bench.start()
    for _ in range(round(ESTIMATE_S * RATE_HZ / PIECE) + 1):
        bench.sound(ask, np.full(PIECE, 1000, "<i2"))
    for _ in range(round(UNTIMED_END_S / 0.1) - 1):
        assert not bench.speech.over
        bench.pass_s(0.1)
        if then == "silence":
            bench.sound(ask, np.zeros(PIECE, "<i2"))
    bench.pass_s(0.2)

    assert (bench.speech.over, bench.said, bench.failures) == (True, TEXT, [])


def test_a_slow_voice_without_word_times_is_silent_after_an_interruption() -> None:
    bench = untimed()
    ask = bench.start()
    bench.sound(ask, np.full(round(1.5 * ESTIMATE_S * RATE_HZ), 1000, "<i2"))
    bench.do(bench.speech.interrupt(bench.now))
    before = len(bench.of(PlaySound))
    bench.sound(ask, np.full(PIECE, 1000, "<i2"))
    bench.pass_s(UNTIMED_END_S + 1)

    assert (bench.speech.over, len(bench.of(PlaySound))) == (True, before)


def slow_tone(words: Sequence[str], length: int) -> np.ndarray:
    """The sound of words of another length; their last sample can be recognised."""
    numbers = [TEXT.split().index(word) + 1 for word in words]
    place = np.zeros(length, int)
    place[-1] = 1
    return (np.repeat(numbers, length) * 1000 + np.tile(place, len(words))).astype("<i2")


def perfect_ends(asked: AlignSound) -> list[float]:
    """What an aligner that makes no mistake finds in `slow_tone`."""
    sound = np.frombuffer(asked.pcm, "<i2")
    return [(int(at) + 1) / RATE_HZ for at in np.flatnonzero(sound % 1000 == 1)]


def speak_untimed(bench: Bench, ask: AskVoice, length: int, samples: int) -> None:
    """Let a voice without word times send the first samples of the requested text."""
    sound = slow_tone(ask.rest.split(), length)[:samples]
    for piece in range(0, len(sound), PIECE):
        bench.sound(ask, sound[piece : piece + PIECE])


@pytest.mark.parametrize("ends", ["fails", "stalls", "stalls while the line is full"])
@pytest.mark.parametrize("length", [150, 600], ids=["fast", "slow"])
@pytest.mark.parametrize("cut", [0.5, 1.0, 3.9, 7.5])
def test_every_word_of_voices_without_word_times_is_heard_once_if_the_first_one_falters(
    cut: float, length: int, ends: str
) -> None:
    bench = untimed(perfect_ends)
    first = bench.start()
    speak_untimed(bench, first, length, round(cut * length))
    if ends == "fails":
        bench.fail(first)
    for _ in range(80):
        bench.pass_s(0.1 if "full" not in ends else 0.05)
        if len(bench.asks) > 1:
            break
    second = bench.asks[1]
    speak_untimed(bench, second, length, len(TEXT.split()) * length)
    bench.finish(second)
    bench.pass_s(8.0)

    counts = [int((bench.heard == n).sum()) for n in range(len(TEXT.split()))]
    assert second.rest == " ".join(TEXT.split()[int(cut) :])
    assert bench.said == TEXT
    torn = max(0, round(cut % 1 * length) - round(HELD_S * RATE_HZ))  # more than is held back
    counts[int(cut)] -= torn
    assert counts == [length] * len(TEXT.split())


def test_half_a_word_of_a_voice_without_word_times_waits_until_more_arrives() -> None:
    bench = untimed(perfect_ends)
    ask = bench.start()

    speak_untimed(bench, ask, 300, 900)
    assert len(bench.heard) == 900 - 1000 * HELD_S

    bench.sound(ask, np.zeros(round(1.5 * SHORTEST_PAUSE_S * RATE_HZ), "<i2"))
    assert len(bench.heard) == 900 + 1500 * SHORTEST_PAUSE_S


@pytest.mark.parametrize("answers", [True, False])
def test_a_healthy_voice_without_word_times_is_not_aligned_unless_it_pauses_for_text(
    *, answers: bool
) -> None:
    bench = untimed(perfect_ends if answers else unknown)
    ask = bench.start("zero one two", closed=False)
    speak_untimed(bench, ask, 300, 900)
    assert bench.of(AlignSound) == []

    bench.pass_s(0.9 + STALL_S + ALIGN_S)
    assert len(bench.of(AlignSound)) == 1
    assert len(bench.heard) == 900
    assert bench.failures == []


@pytest.mark.parametrize(
    ("untimed", "fails_after", "counts"),
    [
        ((), None, []),
        (NAMES, None, [(0, 0, 8)]),
        (NAMES, 4, [(0, 4, 4)]),
        (("first",), 4, [(4, 4, 0)]),
        (("second",), 4, [(4, 0, 4)]),
    ],
    ids=["all timed", "none timed", "aligned", "aligned, then timed", "timed, then untimed"],
)
def test_the_record_says_how_the_times_of_words_are_known(
    untimed: Sequence[str], fails_after: int | None, counts: list[tuple[int, int, int]]
) -> None:
    bench = Bench(align=perfect_ends)
    bench.policy.untimed = frozenset(untimed)
    bench.policy.voice_paces = dict.fromkeys(NAMES, 0.5)  # so the ends of texts are not in doubt

    def speak(ask: AskVoice, samples: int) -> None:
        for n, word in enumerate(ask.rest.split()):
            if ask.provider not in untimed and n * 300 < samples:
                bench.time(ask, word, n)
        speak_untimed(bench, ask, 300, samples)

    ask = bench.start()
    if fails_after:
        speak(ask, 300 * fails_after + 100)
        bench.fail(ask)
        ask = bench.asks[1]
    speak(ask, 300 * 8)
    bench.finish(ask)

    known = [fact for fact in bench.facts if isinstance(fact, WordsTimed)]
    assert [(fact.reported, fact.aligned, fact.estimated) for fact in known] == counts


@pytest.mark.parametrize("over", [True, False])
def test_the_record_of_an_interrupted_utterance_counts_the_words_that_were_heard(
    *, over: bool
) -> None:
    found: list[int] = []

    def heard_ends(asked: AlignSound) -> list[float]:
        ends_s = [at for at in perfect_ends(asked) if at <= (asked.heard_s or 9.0)]
        found.append(len(ends_s))
        return ends_s

    bench = Bench(align=heard_ends)
    bench.policy.untimed = frozenset({"second"})
    bench.policy.voice_paces = dict.fromkeys(NAMES, 0.5)  # so the ends of texts are not in doubt
    first = bench.start()
    bench.speak(first, 3 * WORD + 100)
    bench.fail(first)
    second = bench.asks[1]
    speak_untimed(bench, second, 300, 1500)
    if over:
        bench.finish(second)
    asked = bench.speech.align_heard(0.4)
    bench.do(bench.speech.interrupt(bench.now))
    bench.do(asked)

    known = [fact for fact in bench.facts if isinstance(fact, WordsTimed)]
    last = known[-1]
    assert (last.reported, last.aligned, last.estimated, last.heard) == (3, found[-1], 0, True)
    assert len(known) == 1 + over
    assert 1 <= found[-1] <= 4


UNTIMED_FAULTS = {  # words that are sent, the length of each, and of a pause after them
    f"{cut} words, {length} ms, {'a pause' if pause else 'no pause'}": (cut, length, pause)
    for cut in (1, 4, 7)
    for length in (200, 450, 600)
    for pause in (0, 150)
}


def falter(bench: Bench, fault: tuple[int, int, int], *, pieces_s: float = 0.0) -> AskVoice:
    """Let a voice without word times send the beginning of its text, with this pace."""
    cut, length, pause = fault
    bench.policy.untimed = frozenset(NAMES)
    ask = bench.start()
    sound = np.append(slow_tone(TEXT.split(), length)[: cut * length], np.zeros(pause, "<i2"))
    for piece in range(0, len(sound), PIECE):
        bench.sound(ask, sound[piece : piece + PIECE])
        bench.pass_s(pieces_s)
    return ask


def wait_for_the_next(bench: Bench) -> float:
    """Return how long the line was silent when the next voice was asked."""
    silent_at = max(bench.line.dry_at, bench.now)
    while len(bench.asks) < 2 and not bench.speech.over:
        bench.pass_s(0.01)
    return bench.now - silent_at


@pytest.mark.parametrize("pieces_s", [0.0, PIECE / RATE_HZ], ids=["at once", "in real time"])
@pytest.mark.parametrize("fault", UNTIMED_FAULTS.values(), ids=UNTIMED_FAULTS)
def test_a_voice_that_stalls_in_mid_text_is_replaced_before_the_caller_waits_long(
    fault: tuple[int, int, int], pieces_s: float
) -> None:
    bench = Bench(align=perfect_ends)
    falter(bench, fault, pieces_s=pieces_s)

    assert wait_for_the_next(bench) < 0.42
    assert bench.asks[1].rest.split() == TEXT.split()[fault[0] :]


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("fault", UNTIMED_FAULTS.values(), ids=UNTIMED_FAULTS)
def test_no_word_is_lost_without_an_alignment_if_the_pace_of_the_voice_is_known(
    fault: tuple[int, int, int], *, fails: bool
) -> None:
    cut, length, _ = fault
    bench = Bench()
    bench.policy.voice_paces = {"first": 8 * length / RATE_HZ / ESTIMATE_S}
    ask = falter(bench, fault)
    if fails:
        bench.fail(ask)

    assert wait_for_the_next(bench) < 0.52
    assert len(bench.asks[1].rest.split()) >= len(TEXT.split()) - cut


@pytest.mark.parametrize("fault", [fault for fault in UNTIMED_FAULTS.values() if fault[1] < 600])
def test_no_word_of_a_voice_that_fails_is_lost_without_an_alignment_although_it_is_slow(
    fault: tuple[int, int, int],
) -> None:
    bench = Bench()
    bench.fail(falter(bench, fault))

    assert wait_for_the_next(bench) < 0.42
    assert len(bench.asks[1].rest.split()) >= len(TEXT.split()) - fault[0]


@pytest.mark.parametrize("again_s", [0.2, 0.3])
def test_a_voice_that_only_pauses_is_used_if_its_sound_comes_before_the_next_ones(
    again_s: float,
) -> None:
    bench = Bench(align=perfect_ends)
    ask = falter(bench, (6, 450, 150), pieces_s=PIECE / RATE_HZ)
    bench.pass_s(again_s)
    assert len(bench.asks) == 2
    bench.sound(ask, slow_tone(TEXT.split(), 450)[6 * 450 :])
    bench.finish(ask)

    assert (bench.said, bench.failures, bench.speech.over) == (TEXT, [], True)
    assert bench.whole == [450] * 8


@pytest.mark.parametrize("length", [150, 600], ids=["fast", "slow"])
@pytest.mark.parametrize("cut", [0.0, 0.5, 3.4, 6.0, 7.5])
def test_every_word_is_heard_once_if_an_untimed_voice_ends_in_mid_sentence_as_if_it_were_done(
    cut: float, length: int
) -> None:
    bench = untimed(perfect_ends)
    bench.policy.voice_paces = {"first": length / 300}
    first = bench.start()
    speak_untimed(bench, first, length, round(cut * length))
    bench.finish(first)
    second = bench.asks[1]
    speak_untimed(bench, second, length, len(TEXT.split()) * length)
    bench.finish(second)

    counts = [int((bench.heard == n).sum()) for n in range(len(TEXT.split()))]
    assert second.rest == " ".join(TEXT.split()[int(cut) :])
    assert (bench.said, bench.speech.over) == (TEXT, True)
    counts[int(cut)] -= max(0, round(cut % 1 * length) - round(HELD_S * RATE_HZ))
    assert counts == [length] * len(TEXT.split())
    assert [(found.kind, found.scope) for found in bench.failures] == [
        (Kind.CUT, Scope.REQUEST) if cut else (Kind.SILENT, Scope.ENDPOINT)
    ]


def test_two_untimed_voices_that_end_too_soon_are_followed_by_a_third() -> None:
    bench = untimed(perfect_ends)
    for number, words in enumerate((3, 3, 2)):
        speak_untimed(bench, bench.asks[number] if number else bench.start(), 300, 300 * words)
        bench.finish(bench.asks[number])

    assert [ask.provider for ask in bench.asks] == list(NAMES[:3])
    assert (bench.said, bench.whole) == (TEXT, [300] * 8)


@pytest.mark.parametrize("spoken", [0, 1, 3, 4])
def test_each_text_of_a_reply_is_judged_when_its_request_ends(spoken: int) -> None:
    bench = untimed(perfect_ends)
    first = bench.start("zero one two three", closed=False)
    speak_untimed(bench, first, 300, 1200)
    bench.end_text(first)
    bench.add("four five six seven")
    bench.close()
    bench.sound(first, slow_tone(TEXT.split()[4:], 300)[: 300 * spoken])
    bench.end_text(first)
    if spoken < 4:
        second = bench.asks[1]
        speak_untimed(bench, second, 300, 1200)
        bench.end_text(second)
        first = second
    bench.finish(first)

    assert (bench.said, bench.whole) == (TEXT, [300] * 8)
    assert len(bench.asks) == 1 + (spoken < 4)
    assert bench.speech.over


def test_a_text_that_ends_while_another_is_aligned_waits_its_turn() -> None:
    bench = untimed()
    ask = bench.start("zero one two three")
    bench.add("four five six seven")
    bench.do = bench.done.extend  # type: ignore[method-assign]
    speak_untimed(bench, ask, 300, 1200)
    bench.end_text(ask)
    bench.sound(ask, slow_tone(["four"], 300))
    bench.end_text(ask)
    first, *others = bench.asked_alignments
    aligned = SoundAligned(attempt=1, asked=first, ends_s=(0.3, 0.6, 0.9, 1.2))
    bench.do(bench.speech.handle(aligned, bench.now))
    second = bench.asked_alignments[-1]
    ends_s = (1.5,)
    bench.do(bench.speech.handle(SoundAligned(attempt=1, asked=second, ends_s=ends_s), bench.now))

    assert (others, first.words, second.words) == (
        [],
        tuple(TEXT.split()[:4]),
        tuple(TEXT.split()[4:]),
    )
    assert second.pcm == slow_tone(["four"], 300).tobytes()
    assert bench.asks[1].rest == "five six seven"


@pytest.mark.parametrize("length", [150, 300, 600])
@pytest.mark.parametrize("answers", [True, False])
def test_a_healthy_untimed_voice_says_no_word_twice_at_any_pace(
    length: int, *, answers: bool
) -> None:
    bench = untimed(perfect_ends if answers else unknown)
    for _ in range(3):
        bench.begin(itertools.count(1))
        bench.done.clear()
        ask = bench.start()
        speak_untimed(bench, ask, length, 8 * length)
        bench.end_text(ask)
        bench.finish(ask)

        assert (bench.asks, bench.failures, bench.said) == ([ask], [], TEXT)
        assert bench.speech.over


@pytest.mark.parametrize("text", ["Sure.", "€", '<break time="3s"/> zero one'])
def test_what_an_alignment_cannot_judge_is_not_aligned(text: str) -> None:
    bench = Bench(align=lambda _: [])
    bench.policy.untimed = frozenset(NAMES)
    ask = bench.start(text)
    bench.sound(ask, np.full(400, 1000, "<i2"))
    bench.end_text(ask)
    bench.finish(ask)

    assert (bench.asks, bench.failures, bench.of(AlignSound)) == ([ask], [], [])


def test_an_interruption_while_the_end_of_a_text_is_in_doubt_ends_the_utterance() -> None:
    bench = untimed()
    ask = bench.start()
    speak_untimed(bench, ask, 300, 900)
    bench.do = bench.done.extend  # type: ignore[method-assign]
    bench.end_text(ask)
    bench.do(bench.speech.interrupt(bench.now))
    aligned = SoundAligned(attempt=1, asked=bench.asked_alignments[0], ends_s=(0.3,))
    bench.do(bench.speech.handle(aligned, bench.now))
    bench.finish(ask)

    assert (bench.asks, bench.failures, bench.speech.over) == ([ask], [], True)


@pytest.mark.parametrize(
    ("spoken", "waits_s"), [(1, ALIGN_S), (4, 1.2 - ALIGN_S), (7, ALIGN_LONG_S)]
)
def test_the_end_of_a_text_is_in_doubt_only_while_the_line_has_sound(
    spoken: int, waits_s: float
) -> None:
    bench = untimed()
    ask = bench.start()
    speak_untimed(bench, ask, 300, 300 * spoken)
    bench.sound(
        ask, np.zeros(round(1000 * SHORTEST_PAUSE_S), "<i2")
    )  # so that no sound is held back
    bench.do = bench.done.extend  # type: ignore[method-assign]
    bench.finish(ask)
    ended_at = bench.now
    while not (bench.speech.over or len(bench.asks) > 1) and bench.speech.wake_at is not None:
        bench.now = bench.speech.wake_at
        bench.do(bench.speech.tick(bench.now))

    assert bench.now - ended_at == pytest.approx(waits_s, abs=0.11)


def test_a_voice_whose_pace_is_known_is_aligned_only_if_a_text_is_short_for_it() -> None:
    bench = untimed(perfect_ends)
    counts: list[int] = []
    for length in (200, 200, 210, 200, 150):
        bench.begin(itertools.count(1))
        ask = bench.start()
        speak_untimed(bench, ask, length, 8 * length)
        bench.sound(ask, np.zeros(200, "<i2"))
        bench.finish(ask)
        counts.append(len(bench.asked_alignments))

    assert counts == [1, 1, 1, 1, 2]


def test_the_sound_of_a_long_speech_is_forgotten_once_it_is_aligned() -> None:
    bench = untimed(perfect_ends)
    text = " ".join([TEXT] * 16)
    first = bench.start(text)
    speak_untimed(bench, first, 300, 37_350)
    bench.fail(first)

    assert max(len(asked.pcm) for asked in bench.asked_alignments) <= 2 * 1000 * 31
    assert bench.asks[1].rest == " ".join(text.split()[124:])


ORDERS = list(itertools.permutations(["clip", "word", "sound", "end"]))


@pytest.mark.parametrize("stall_s", [0.0, 0.5])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_no_order_of_clip_words_sound_and_end_leaves_the_line_silent(
    order: tuple[str, ...], stall_s: float
) -> None:
    """The first voice stops after its first sound; our loop lags from then on."""
    bench = Bench(left_s=2.0)
    ask = bench.start(closed=False)
    for event in order:
        match event:
            case "clip":
                bench.line.add(1.5, bench.now)
            case "word":
                bench.time(ask, "zero", 0)
            case "sound":
                bench.sound(ask, np.full(PIECE, 1000, "<i2"))
            case _:
                bench.close()
        lagging(bench, 0.05, stall_s)
    while not bench.speech.over:
        lagging(bench, 0.1, stall_s)
        due_at = max(bench.line.dry_at + NEXT_VOICE_S, 102.0)
        assert bench.now < due_at + 1.0 + 2 * stall_s + 0.2

    (end,) = [action for action in bench.done if isinstance(action, EndSpeech)]
    assert f"{bench.said} {end.unsaid}".split() == TEXT.split()


def lagging(bench: Bench, seconds: float, stall_s: float) -> None:
    """Let time pass; each step of the loop is late by `stall_s`, and timers run after it."""
    lag, until = bench.policy.lag, bench.now + seconds
    while bench.now < until:
        bench.now += PERIOD_S + stall_s
        lag.beat(bench.now)
        while (at := bench.speech.wake_at) is not None and at <= bench.now:
            bench.do(bench.speech.tick(bench.now))


def test_a_voice_that_timed_words_whose_sound_never_came_was_cut() -> None:
    bench, ask = begun()

    for n, word in enumerate(TEXT.split()):
        bench.time(ask, word, n)
    bench.sound(ask, tone(TEXT.split())[: 3 * WORD])
    bench.finish(ask)

    assert [ask_voice.rest for ask_voice in bench.asks[1:]] == ["three four five six seven"]


def test_a_voice_whose_last_word_is_timed_slightly_after_its_sound_was_not_cut() -> None:
    bench, ask = begun()

    for n, word in enumerate(TEXT.split()):
        bench.time(ask, word, n)
    bench.sound(ask, tone(TEXT.split())[: 7 * WORD - 50])
    bench.finish(ask)

    assert bench.said == TEXT
    assert len(bench.asks) == 1


@pytest.mark.parametrize("ending", ["🙂", "—", "— 🙂 …"])
def test_a_voice_that_ends_with_the_last_letter_of_its_text_was_not_cut(ending: str) -> None:
    bench, ask = begun(f"zero one {ending}")

    bench.speak(ask, text="zero one")
    bench.finish(ask)

    assert bench.said == f"zero one {ending}"
    assert bench.of(EndSpeech) == [EndSpeech(unsaid="")]
    assert len(bench.asks) == 1


def test_a_voice_that_never_reports_its_end_is_done_anyway() -> None:
    bench, ask = begun()

    bench.speak(ask)
    bench.pass_s(REPORT_END_S + 0.1)

    assert bench.speech.over
    assert bench.said == TEXT
    assert len(bench.asks) == 1
    assert bench.of(MuteVoice) == [MuteVoice(provider="first")]


QUIET = np.zeros(60, "<i2")


def begin_words(bench: Bench, ask: AskVoice) -> None:
    """Let a voice report when each word begins, but not when it ends."""
    for n, word in enumerate(TEXT.split()):
        timed = WordTimed(attempt=ask.attempt, text=word, start_s=n * WORD / RATE_HZ)
        bench.do(bench.speech.handle(timed, bench.now))


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("pause_s", [0.0, 1.0, 2.9])
@pytest.mark.parametrize("ends", [True, False])
def test_a_voice_that_reports_no_ends_of_words_has_not_stalled_in_the_last_one(
    pause_s: float, *, closed: bool, ends: bool
) -> None:
    bench = Bench()
    ask = bench.start(closed=closed)
    begin_words(bench, ask)
    bench.sound(ask, tone(TEXT.split())[:-PIECE])
    bench.sound(ask, QUIET)
    bench.pass_s(pause_s)
    bench.sound(ask, tone(TEXT.split())[-PIECE:])
    if ends:
        bench.pass_s(NO_TEXT_S + 0.1)
        bench.finish(ask)
    else:
        bench.pass_s(NO_TEXT_S + UNTIMED_END_S + 0.1)

    assert (bench.speech.over, bench.said, bench.whole[-1]) == (True, TEXT, WORD)
    assert (bench.asks, bench.failures) == ([ask], [])


@pytest.mark.parametrize(
    ("words", "quiet"), [(4.2, False), (6.9, False), (7.2, False), (7.2, True), (7.8, False)]
)
def test_a_voice_that_reports_no_ends_of_words_is_replaced_if_it_stalls(
    words: float, *, quiet: bool
) -> None:
    bench = Bench()
    ask = bench.start()
    begin_words(bench, ask)
    bench.sound(ask, tone(TEXT.split())[:WORD])
    bench.sound(ask, tone(TEXT.split())[WORD : round(words * WORD)])
    bench.sound(ask, QUIET[: len(QUIET) * quiet])
    bench.pass_s(0.5)
    last = bench.asks[-1]
    bench.speak(last)
    bench.finish(last)

    assert last.rest == " ".join(TEXT.split()[int(words) :])
    assert (bench.speech.over, bench.said, bench.whole) == (True, TEXT, [WORD] * 8)


@pytest.mark.parametrize("ending", ["", " 🙂", " —", " — 🙂 …"])
def test_a_reply_that_pauses_is_closed_before_the_provider_times_out(ending: str) -> None:
    bench, ask = begun(f"zero one{ending}", closed=False)

    bench.speak(ask, text="zero one")
    bench.pass_s(NO_TEXT_S + 0.05)

    assert bench.of(EndText) == [EndText(provider="first")]
    assert not bench.speech.accepts
    assert len(bench.asks) == 1


def test_a_cut_after_the_last_word_is_no_failure() -> None:
    bench, ask = begun("zero one", closed=False)
    bench.speak(ask)
    bench.pass_s(0.49)  # the line has had the last word

    bench.fail(ask)

    assert bench.said == "zero one"
    assert bench.of(EndSpeech) == [EndSpeech(unsaid="")]
    assert len(bench.asks) == 1


def test_without_a_usable_voice_whole_words_are_heard_and_the_rest_is_reported() -> None:
    bench = Bench(names=("first",))
    first = bench.start()
    bench.speak(first, 2 * WORD + 100)

    bench.fail(first, Kind.AUTH)

    assert bench.said == "zero one"
    assert bench.whole == [WORD, WORD] + [0] * 6
    assert bench.of(EndSpeech) == [EndSpeech(unsaid="two three four five six seven")]


def test_a_stopped_utterance_asks_no_voice_and_is_no_failure() -> None:
    bench, ask = begun()
    bench.speak(ask, WORD)

    bench.do(bench.speech.interrupt(bench.now))

    assert bench.of(MuteVoice) == [MuteVoice(provider="first")]
    assert bench.speech.over
    assert not bench.policy.availability.of("tts", "first").suspect_since


def test_the_last_partial_word_is_released_before_the_line_runs_dry() -> None:
    bench, ask = begun()
    bench.speak(ask, 2 * WORD + 150)
    before = bench.whole

    bench.pass_s(0.3)
    bench.speak(ask, 1)  # a sign of life
    bench.pass_s(0.3)

    assert before[2] < 150
    assert bench.whole[2] >= 150


@promised
@given(
    cuts=st.lists(st.integers(min_value=1, max_value=8 * WORD - 60), max_size=3),
    how=st.lists(st.sampled_from([Kind.CUT, Kind.OVERLOADED, Kind.NETWORK]), min_size=3),
)
@pytest.mark.parametrize("pause_s", [0.0, 0.05], ids=["at once", "after a moment"])
def test_at_any_cut_every_word_is_heard_once_and_in_order(
    cuts: list[int], how: list[Kind], pause_s: float
) -> None:
    bench, ask = begun()
    bench.line.add(60.0, now=bench.now)  # enough is queued: partial words need not go out
    for cut, kind in zip(cuts, how, strict=False):
        if cut >= WORD * len(ask.rest.split()) - 60:
            continue
        bench.speak(ask, cut)
        bench.pass_s(pause_s)
        bench.fail(ask, kind)
        ask = bench.asks[-1]

    bench.speak(ask)
    bench.finish(ask)

    assert bench.said == TEXT
    assert bench.whole == [WORD] * 8
    assert (np.diff(bench.heard) >= 0).all()


def test_each_failed_voice_is_reported_with_its_own_words_only() -> None:
    bench = Bench(names=("first", "second", "third"))
    bench.start()

    for samples in (3 * WORD + 100, 2 * WORD + 100, 0):
        bench.speak(bench.asks[-1], samples)
        bench.fail(bench.asks[-1])

    words = [(fact.provider, fact.heard_words) for fact in bench.failures]
    assert words == [("first", 3), ("second", 2), ("third", 0)]
    assert bench.said == "zero one two three four"


def test_a_repeated_word_time_is_one_word() -> None:
    bench, ask = begun("two two")
    for n in (0, 0, 1, 1):
        bench.time(ask, "two", n)
    bench.sound(ask, tone(["two", "two"])[: WORD + 100])

    assert bench.said == "two"


def test_a_voice_may_take_its_time_while_the_line_has_something_to_play() -> None:
    bench = Bench(names=("first",))
    first = bench.start()
    bench.speak(first, 2 * WORD)
    bench.line.add(9.0, bench.now)  # enough is queued to avoid haste
    bench.speak(first, 1)
    bench.pass_s(5.0)

    assert not bench.speech.over


def test_an_utterance_that_begins_late_still_gets_its_time() -> None:
    bench = Bench(names=("first",), left_s=0.0)
    bench.start()

    bench.pass_s(1.0)

    assert not bench.speech.over


@pytest.mark.parametrize(("left", "right"), [(2, 4), (0, 2), (5, 7), (4, 7)])
def test_words_that_a_voice_leaves_out_are_said_by_the_next(left: int, right: int) -> None:
    bench = Bench()
    ask, words = bench.start(), TEXT.split()
    spoken = " ".join([*words[:left], *words[right:]])

    bench.speak(ask, text=spoken)
    (second,) = bench.asks[1:]
    bench.speak(second)
    bench.finish(second)

    assert bench.said == TEXT
    assert bench.whole[left:] == [WORD] * (len(words) - left)
    (cut,) = bench.failures
    assert (cut.provider, cut.kind, cut.reason) == ("first", Kind.CUT, "words were left out")


TWELVE = "we open at nine in the morning and close at six today"
CODE = "your code is 4 8 1 5 1 6 thank you"


@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        *[(TWELVE, 1, 5), (TWELVE, 3, 8), (TWELVE, 0, 6), (TWELVE, 2, 10), (TWELVE, 5, 11)],
        *[(CODE, 4, 8), (CODE, 3, 7), (CODE, 5, 9)],
        ("no no no it is not so no no no", 3, 7),
    ],
)
def test_a_long_gap_is_said_once_by_the_next_voice(text: str, left: int, right: int) -> None:
    bench = Bench()
    ask, words = bench.start(text), text.split()
    for n, word in enumerate([*words[:left], *words[right:]]):
        bench.time(ask, word, n)
        bench.sound(ask, np.full(WORD, 1000, "<i2"))
    bench.sound(ask, np.zeros(WORD, "<i2"))
    bench.finish(ask)
    (second,) = bench.asks[1:]
    for n, word in enumerate(second.rest.split()):
        bench.time(second, word, n)
        bench.sound(second, np.full(WORD, 1000, "<i2"))
    bench.finish(second)

    assert bench.said == text
    assert [failure.provider for failure in bench.failures] == ["first"]


@pytest.mark.parametrize("closed", [True, False])
def test_the_end_of_a_text_is_missing_although_silence_follows(*, closed: bool) -> None:
    bench, ask = begun(closed=closed)
    bench.speak(ask, text=" ".join(TEXT.split()[:4]))
    bench.sound(ask, np.zeros(WORD, "<i2"))
    bench.finish(ask)

    assert bench.asks[1].rest == "four five six seven"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("we have 350 rooms today", "we have three hundred fifty rooms today"),
        ("we do not open today", "we don't open today"),
        ("so a b c it is", "so it is"),
        ("look - really - there", "look really there"),
        ('hold on <break time="1s"/> and <b>wait</b> here', "hold on and wait here"),
        ("\u00bfqu\u00e9? ok\u00e9", "qu\u00e9 ok\u00e9"),
    ],
)
def test_a_voice_that_rephrases_words_has_omitted_none(text: str, said: str) -> None:
    bench, ask = begun(text)
    for n, word in enumerate(said.split()):
        bench.time(ask, word, n)
        bench.sound(ask, np.ones(WORD, "<i2"))
    bench.finish(ask)

    assert bench.speech.over
    assert len(bench.asks) == 1
    assert bench.said == text


def test_a_word_without_a_time_that_had_room_to_be_spoken_was_not_left_out() -> None:
    bench, ask = begun()
    for n, word in enumerate(TEXT.split()):
        bench.sound(ask, tone([word]))
        if word not in ("three", "four"):
            bench.time(ask, word, n)
    bench.finish(ask)

    assert (bench.said, len(bench.asks)) == (TEXT, 1)


@pytest.mark.parametrize("words", [0, 3])
def test_text_that_two_voices_do_not_finish_is_blamed_and_no_voice_is(words: int) -> None:
    bench = Bench()
    first, spoken = bench.start(), TEXT.split()[:words]
    if words:
        bench.speak(first, WORD * words)
    bench.finish(first)
    second = bench.asks[-1]
    again = [word for word in second.rest.split() if word in spoken]
    if again:
        bench.speak(second, WORD * len(again))
    bench.finish(second)

    assert [ask.provider for ask in bench.asks] == ["first", "second"]
    (end,) = [action for action in bench.done if isinstance(action, EndSpeech)]
    assert f"{bench.said} {end.unsaid}".split() == TEXT.split()
    assert [failure.provider for failure in bench.failures] == ["first"]
    assert bench.policy.availability.of("tts", "second").suspect_since is None


def test_text_that_two_voices_leave_out_is_blamed_and_no_voice_is() -> None:
    bench, first = begun()
    bench.speak(first, text="zero one four five six seven")
    second = bench.asks[-1]
    bench.speak(second, text=second.rest.replace("two three ", ""))

    assert bench.speech.over
    (end,) = [action for action in bench.done if isinstance(action, EndSpeech)]
    assert f"{bench.said} {end.unsaid}".split() == TEXT.split()
    assert bench.policy.availability.of("tts", "second").suspect_since is None


IN_ONE_CALL = (("a", "zero one"), ("a", "two three"))
IN_TWO_CALLS = (("a", "zero one"), ("b", "zero one"))
MEDIUM, CRITICAL = Severity.MEDIUM, Severity.CRITICAL


@pytest.mark.parametrize(
    ("texts", "between", "told"),
    [
        (IN_ONE_CALL[:1], "", [MEDIUM]),
        (IN_ONE_CALL[:1] * 4, "", [MEDIUM] * 4),
        (IN_ONE_CALL, "", [MEDIUM, CRITICAL]),
        (IN_TWO_CALLS, "", [MEDIUM, CRITICAL]),
        (IN_ONE_CALL, "four", [MEDIUM, MEDIUM]),
        (IN_TWO_CALLS, "four", [MEDIUM, MEDIUM]),
    ],
)
def test_two_silent_voices_are_blamed_from_the_second_text_on(
    texts: Sequence[tuple[str, str]], between: str, told: list[Severity]
) -> None:
    bench = Bench(names=NAMES[:2])
    calls = {"a": itertools.count(1), "b": itertools.count(1)}

    severities: list[Severity] = []
    for call, text in texts:
        if between:
            spoken = say_next(bench, calls["b"], between)
            bench.speak(spoken)
            bench.finish(spoken)
        ask = say_next(bench, calls[call], text)
        while not bench.speech.over:
            bench.finish(bench.asks[-1])
        assert bench.of(EndSpeech) == [EndSpeech(unsaid=ask.rest)]
        severities += [f.severity for f in bench.facts if isinstance(f, StageExhausted)]

    assert severities == told
    breakers = [bench.policy.availability.of("tts", name).breaker for name in bench.names]
    assert {breaker.state for breaker in breakers} == {State.CLOSED}
    blamed = {failure.provider for failure in bench.failures}  # for the last text
    assert (blamed == set(bench.names)) is (CRITICAL in told)


def say_next(bench: Bench, call: Iterator[int], text: str) -> AskVoice:
    bench.now += 1.0
    bench.done.clear()
    bench.begin(call)
    return bench.start(text)


def test_a_third_voice_is_asked_once_two_were_silent_with_another_text() -> None:
    bench, call = Bench(names=NAMES[:3]), itertools.count(1)
    for text in ("zero one", "two three"):
        say_next(bench, call, text)
        bench.finish(bench.asks[-1])
        bench.finish(bench.asks[-1])

    assert len({ask.provider for ask in bench.asks}) == 3
    bench.speak(bench.asks[-1])
    bench.finish(bench.asks[-1])
    assert bench.said == "two three"
