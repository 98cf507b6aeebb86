"""Which recogniser is fed and which words are delivered, with numbers for time."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from calls.transcript import Heard, HeardWord
from calls.turn import Turn
from fallbacks.attempt_events import Ask, EmitEvent
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.events import AttemptFailed, StageExhausted
from fallbacks.failure import Kind, failed
from fallbacks.ladder import Pace, StagePolicy
from fallbacks.stt_times import FIRST_CONNECTION_S, RESULT_GAP_S, TURN_HELD_S
from processors.hearing.decision import CallerHearing, HearingAction, KeepTurnOpen, PassOn
from processors.hearing.feed_rules import (
    STEADY,
    AskForWords,
    FeedSound,
    FlushWords,
    MarkSpeech,
    Reconnect,
)

FRAME = bytes(640)  # 20 ms


@dataclass
class Bench:
    """A ladder of recognisers, with all its actions."""

    names: tuple[str, ...] = ("a", "b")
    now: float = 100.0
    done: list[HearingAction] = field(default_factory=list)
    shared: AvailabilityTable | None = None

    def __post_init__(self) -> None:
        places = [Place(stage="stt", provider=name, credential=name) for name in self.names]
        availability = self.shared or AvailabilityTable(places, now=self.now)
        policy = StagePolicy(stage="stt", availability=availability, pace=Pace())
        turn = Turn(budget_s=1.5)
        self.hearing = CallerHearing(dict.fromkeys(self.names, True), policy=policy, turn=turn)
        self.turn, self.availability = turn, policy.availability
        for name in self.names:
            self.hearing.opened(name, self.now)

    def note(self, actions: Iterable[HearingAction]) -> list[HearingAction]:
        wanted = list(actions)
        self.done += wanted
        return wanted

    def begin(self) -> list[HearingAction]:
        return self.note(self.hearing.begin_speech(0.2, self.now))

    def pause(self) -> list[HearingAction]:
        return self.note(self.hearing.pause_speech())

    def stop(self) -> list[HearingAction]:
        return self.note(self.hearing.stop_speech(0.2, self.now))

    def connect(self, name: str) -> list[HearingAction]:
        return self.note(self.hearing.connected(name, self.now))

    def hear(self) -> list[HearingAction]:
        return self.note(self.hearing.hear(FRAME, self.now))

    def read(self, name: str, heard: Heard) -> list[HearingAction]:
        return self.note(self.hearing.read_result(name, heard, self.now))

    def pass_s(self, seconds: float) -> list[HearingAction]:
        """Let the line carry silence, ringing the alarm whenever it is due."""
        wanted: list[HearingAction] = []
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            wanted += self.hear()
            if self.hearing.wake_at is not None and self.hearing.wake_at <= self.now:
                wanted += self.hearing.tick(self.now)
        self.done += wanted
        return wanted

    def stall(self, seconds: float) -> list[HearingAction]:
        """Let the line deliver nothing, ringing the alarm whenever it is due."""
        wanted: list[HearingAction] = []
        until = self.now + seconds
        while (at := self.hearing.wake_at) is not None and at <= until:
            self.now = max(self.now, at)
            wanted += self.hearing.tick(self.now)
            assert self.hearing.wake_at is None or self.hearing.wake_at > self.now
        self.now = until
        return wanted

    def burst(self, seconds: float) -> list[HearingAction]:
        """Deliver this much at once."""
        wanted = [action for _ in range(round(seconds / 0.02)) for action in self.hear()]
        if self.hearing.wake_at is not None and self.hearing.wake_at <= self.now:
            wanted += self.hearing.tick(self.now)
        return wanted

    def write(
        self,
        name: str,
        text: str,
        *,
        end_s: float | None = None,
        words: tuple[HeardWord, ...] = (),
    ) -> list[HearingAction]:
        heard = Heard(text=text, final=True, interim=False, flushed=True, end_s=end_s, words=words)
        return self.read(name, heard)

    def fail(self, name: str) -> list[HearingAction]:
        failure = failed(Kind.NETWORK, "stt", provider=name)
        return self.note(self.hearing.fail(name, failure, self.now))


def up(*names: str) -> Bench:
    """Return a ladder whose recognisers are connected, after a second of silence."""
    bench = Bench(names or ("a", "b"))
    for name in bench.names:
        bench.connect(name)
    bench.pass_s(1.0)
    return bench


def speaking(seconds: float, *names: str) -> Bench:
    """Return such a ladder while the caller has been speaking for this long."""
    bench = up(*names)
    bench.begin()
    bench.pass_s(seconds)
    return bench


def fed(actions: list[HearingAction], name: str) -> float:
    pieces = [
        action.sound
        for action in actions
        if isinstance(action, FeedSound)
        if action.provider == name
    ]
    return sum(map(len, itertools.chain(*pieces))) / 32_000


def test_the_caller_is_heard_by_the_first_recogniser_only() -> None:
    bench = up()

    assert fed(bench.done, "a") > 0.9
    assert fed(bench.done, "b") == 0.0


def test_a_writing_recogniser_is_flushed_as_soon_as_the_caller_pauses() -> None:
    bench = up()
    bench.begin()

    assert bench.pause() == [AskForWords("a")]


def test_without_speech_no_recogniser_is_flushed() -> None:
    assert up().pause() == []


@pytest.mark.parametrize(
    ("goes_on_s", "owed"), [(0.1, False), (1.0, True)], ids=["and stops", "and speaks on"]
)
def test_only_words_of_the_pause_are_pending_unless_the_caller_continued(
    goes_on_s: float, *, owed: bool
) -> None:
    bench = speaking(1.0)
    bench.pause()
    bench.write("a", "Are you open?", end_s=bench.hearing.sound.end_s)
    bench.pass_s(goes_on_s)
    bench.stop()

    assert bench.hearing.utterance is not None
    assert bench.hearing.utterance.awaits_words(bench.now) is owed


def test_the_next_recogniser_hears_the_utterance_from_its_start() -> None:
    bench = up()
    bench.begin()
    bench.pass_s(0.3)  # none is late yet

    after = bench.fail("a")

    assert Reconnect("a") in after
    assert 0.5 <= fed(after, "b") <= 1.1
    assert fed(bench.pass_s(0.1), "b") > 0.0


def test_delivered_words_are_not_delivered_again() -> None:
    bench = speaking(1.0)
    assert PassOn(None) in bench.write("a", "I would like")
    bench.fail("a")

    assert PassOn("a table") in bench.write("b", "I would like a table")


@pytest.mark.parametrize("spoken_before", [False, True], ids=["at the start", "later"])
def test_words_too_soft_for_the_vad_are_delivered(*, spoken_before: bool) -> None:
    bench = up()
    if spoken_before:
        bench.begin()
        bench.pass_s(0.5)
        bench.stop()
        bench.write("a", "Hello.", end_s=bench.hearing.sound.end_s)

    assert bench.write("a", "Yes.", end_s=bench.hearing.sound.end_s) == [PassOn(None)]


def timed(text: str, from_s: float) -> tuple[HeardWord, ...]:
    """Return words of 0.4 s each, without a pause."""
    return tuple(
        HeardWord(text=each, start_s=from_s + 0.4 * n, end_s=from_s + 0.4 * (n + 1))
        for n, each in enumerate(text.split())
    )


@pytest.mark.parametrize("with_times", [True, False], ids=["tells times", "tells none"])
def test_a_late_standby_hears_only_undelivered_sound(*, with_times: bool) -> None:
    bench = up()
    bench.begin()
    bench.burst(8.0)
    bench.write("a", "one two three four", end_s=9.0, words=timed("one two three four", 6.0))
    bench.burst(1.0)

    after = bench.fail("a")
    second = timed("three four five six", 0.0) if with_times else ()
    written = bench.write("b", "three four five six", words=second)

    assert fed(after, "b") == pytest.approx(10.0 - 6.8, abs=0.021)  # from a word's beginning
    assert PassOn("five six") in written


def test_a_standby_hears_everything_if_the_written_end_is_unknown() -> None:
    bench = up()
    bench.begin()
    bench.burst(8.0)
    bench.write("a", "one two three four")

    assert fed(bench.fail("a"), "b") > 8.0


def outage(*names: str) -> Bench:
    """Return a ladder without an allowed rung, whose first one is connected."""
    bench = up(*names)
    for name in bench.names:
        bench.availability.of("stt", name).retire(Kind.AUTH, bench.now)
    return bench


def test_an_open_stream_keeps_writing_though_no_rung_may_be_asked() -> None:
    bench = outage()
    began = bench.begin()
    bench.pass_s(1.0)
    bench.stop()
    utterance = bench.hearing.utterance
    assert utterance is not None
    owed = utterance.awaits_words(bench.now)

    written = bench.write("a", "Are you open?", end_s=bench.hearing.sound.end_s)

    assert MarkSpeech(provider="a", speaking=True) in began
    assert PassOn(None) in written
    assert (owed, utterance.awaits_words(bench.now)) == (True, False)
    assert exhausted(bench.done) == []
    bench.begin()  # and the same in the next turn
    assert exhausted(bench.done) == []


def test_a_standby_that_replayed_an_utterance_hears_the_next_though_no_rung_may_be_asked() -> None:
    bench = speaking(0.5, "a")
    bench.fail("a")
    bench.connect("a")
    bench.stop()
    bench.availability.of("stt", "a").breaker.trip(bench.now)
    bench.write("a", "Are you open?", end_s=bench.hearing.sound.end_s)
    heard = len(exhausted(bench.done))

    bench.pass_s(0.5)
    began = bench.begin()

    assert MarkSpeech(provider="a", speaking=True) in began
    assert len(exhausted(bench.done)) == heard


@pytest.mark.parametrize("wrote_before", [False, True])
def test_a_rung_that_connected_in_the_outage_and_wrote_nothing_is_not_waited_for(
    *, wrote_before: bool
) -> None:
    bench = up("a")
    if wrote_before:  # on the connection that is gone
        bench.write("a", "Hello.")
    bench.fail("a")
    bench.availability.of("stt", "a").retire(Kind.AUTH, bench.now)
    bench.connect("a")
    bench.pass_s(0.5)

    assert exhausted(bench.begin()) == [0]


@pytest.mark.parametrize("words_before", [False, True])
def test_a_recogniser_that_dies_in_an_utterance_without_a_standby_is_an_outage(
    *, words_before: bool
) -> None:
    bench = outage()
    bench.begin()
    bench.pass_s(0.5)
    if words_before:
        bench.write("a", "Are you")

    after = bench.fail("a")

    assert exhausted(after) == [1]
    assert not any(isinstance(item, Ask) for item in bench.done)


def test_a_recogniser_that_writes_nothing_without_a_standby_is_an_outage() -> None:
    bench = outage()
    bench.begin()
    bench.pass_s(0.5)
    bench.stop()
    bench.turn.caller_stopped(bench.now)

    wanted = bench.pass_s(5.0)

    assert exhausted(wanted) == [1]
    assert not any(isinstance(item, Ask) for item in bench.done)


def test_without_an_open_stream_the_caller_tries_a_rung_before_the_outage_is_reported() -> None:
    bench = up("a")
    bench.fail("a")
    bench.availability.of("stt", "a").breaker.trip(bench.now)

    began = bench.begin()
    lost = bench.fail("a")

    assert (exhausted(began), exhausted(lost)) == ([], [1])


@pytest.mark.parametrize(
    ("said", "passed_on"), [(("one", "two"), [PassOn("two")]), (("one",), [])], ids=["both", "old"]
)
def test_unflushed_words_of_an_earlier_feed_are_not_delivered_again(
    said: tuple[str, ...], passed_on: list[PassOn]
) -> None:
    bench = up()
    bench.begin()
    bench.pass_s(0.9)  # late: the next one is asked as well
    bench.write("a", "one")
    before_s = fed(bench.done, "b")
    bench.stop()
    bench.write("a", "", end_s=10.0)
    bench.pass_s(1.0)
    bench.begin()
    bench.fail("a")
    bench.pass_s(0.5)
    times = {"one": 0.2, "two": before_s + 0.4}
    words = tuple(
        HeardWord(text=text, start_s=times[text], end_s=times[text] + 0.2) for text in said
    )

    written = bench.write("b", " ".join(said), end_s=before_s + 1.0, words=words)

    assert 0.5 < before_s < fed(bench.done, "b")
    assert [item for item in written if isinstance(item, PassOn)] == passed_on


def test_a_turn_is_kept_open_while_its_words_are_pending() -> None:
    bench = speaking(0.5)
    bench.stop()
    asked_at = bench.now

    kept = bench.pass_s(TURN_HELD_S + 0.1)

    assert kept.count(KeepTurnOpen()) == 1
    assert bench.hearing.wake_at is None or bench.hearing.wake_at > asked_at


def test_an_unconnected_recogniser_is_connected_urgently_and_then_fed() -> None:
    bench = up()
    bench.fail("a")
    bench.fail("b")
    asked = [hearing_action for hearing_action in bench.begin() if isinstance(hearing_action, Ask)]
    bench.pass_s(0.3)

    connected = bench.connect(asked[0].provider)

    assert connected[0] == MarkSpeech(provider=asked[0].provider, speaking=True)
    assert fed(connected, asked[0].provider) > 0.3


def test_a_lagging_recogniser_is_fed_nothing_more_during_silence() -> None:
    bench = speaking(0.5)
    bench.fail("a")
    bench.stop()

    assert fed(bench.pass_s(0.4), "b") == 0.0
    assert 0.3 < fed(bench.begin(), "b") < 0.5


def test_a_standby_takes_over_between_utterances_and_the_other_is_fed_no_more() -> None:
    bench = up()
    lost = bench.fail("a")

    assert fed(lost, "b") > 0.5
    assert next(
        hearing_action.fact for hearing_action in lost if isinstance(hearing_action, EmitEvent)
    ) == AttemptFailed.of(failed(Kind.NETWORK, "stt", provider="a"))
    assert bench.hearing.writer.provider == "b"
    assert FlushWords("b") not in bench.done


def failures(actions: list[HearingAction]) -> list[tuple[str, str, Kind]]:
    facts = (action.fact for action in actions if isinstance(action, EmitEvent))
    return [
        (fact.stage, fact.provider, fact.kind) for fact in facts if isinstance(fact, AttemptFailed)
    ]


def exhausted(actions: list[HearingAction]) -> list[int]:
    facts = (action.fact for action in actions if isinstance(action, EmitEvent))
    return [fact.attempts for fact in facts if isinstance(fact, StageExhausted)]


NOTHING = Heard(interim=True)


def steady() -> Bench:
    """Return a ladder whose first recogniser has written at every beat, and just now."""
    bench = up()
    for _ in range(STEADY + 1):
        bench.read("a", NOTHING)
        bench.pass_s(0.5 * RESULT_GAP_S)
    bench.read("a", NOTHING)
    return bench


def test_a_recogniser_that_stops_writing_has_failed_and_the_next_hears_it() -> None:
    bench = steady()
    bench.begin()

    before = bench.pass_s(RESULT_GAP_S - 0.04)
    wanted = bench.pass_s(0.06)

    assert failures(before) == []
    assert failures(wanted) == [("stt", "a", Kind.SILENT)]
    assert fed([*before, *wanted], "b") > RESULT_GAP_S


def test_a_recogniser_mute_before_the_caller_spoke_is_not_waited_for() -> None:
    bench = steady()
    bench.pass_s(RESULT_GAP_S + 0.1)

    bench.begin()
    wanted = bench.pass_s(0.02)

    assert failures(wanted) == [("stt", "a", Kind.SILENT)]


@pytest.mark.parametrize("gap_s", [1.4, 30.0])
def test_a_gap_on_the_line_before_the_caller_speaks_does_not_count_as_a_mute_recogniser(
    gap_s: float,
) -> None:
    bench = steady()
    bench.stall(gap_s)
    bench.pass_s(0.2)

    bench.begin()
    wanted = bench.pass_s(0.9)
    bench.read("a", NOTHING)
    wanted += bench.pass_s(0.9)

    assert failures(wanted) == []


@pytest.mark.parametrize("gap_s", [0.5, 1.3])
def test_sound_after_a_gap_takes_its_time_to_be_written(gap_s: float) -> None:
    bench = steady()
    bench.begin()
    bench.pass_s(0.8)

    wanted = [*bench.stall(gap_s), *bench.burst(gap_s), *bench.pass_s(0.4)]

    assert ("stt", "a", Kind.SILENT) not in failures(wanted)
    assert ("stt", "a", Kind.SILENT) in failures(bench.pass_s(0.12))


def test_a_recogniser_that_ignores_sound_after_a_gap_is_mute_a_little_later() -> None:
    bench = steady()
    bench.stall(5.0)
    bench.begin()

    before = bench.pass_s(RESULT_GAP_S - 0.04)
    wanted = bench.pass_s(0.08)

    assert failures(before) == []
    assert failures(wanted) == [("stt", "a", Kind.SILENT)]


def test_a_hanging_connection_is_reported_once_before_any_speech() -> None:
    bench = Bench()
    bench.connect("b")

    wanted = bench.pass_s(4 * FIRST_CONNECTION_S)

    assert failures(wanted) == [("stt", "a", Kind.TIMEOUT)]


def test_connections_refused_for_two_calls_and_a_probe_take_the_rung_out() -> None:
    availability = AvailabilityTable([Place(stage="stt", provider="a", credential="a")], now=100.0)
    refused = failed(Kind.BAD_REQUEST, "stt", provider="a")
    calls = [Bench(("a",), shared=availability) for _ in range(2)]

    for call, usable in ((calls[0], True), (calls[0], True), (calls[1], False)):
        call.hearing.fail("a", refused, call.now)
        permit = availability.of("stt", "a").permit(100.0, probe=True)
        assert permit
        availability.failed(permit, refused, now=100.0)
        assert [rung.usable for rung in availability.ladder("stt", 100.0)] == [usable]


WHOLE = "What are your hours"


def guess(bench: Bench, name: str, text: str, *, end_s: float | None) -> list[HearingAction]:
    heard = Heard(text=text, final=False, interim=True, flushed=False, end_s=end_s, words=())
    return bench.read(name, heard)


def asks(bench: Bench, *, guessed: str = WHOLE, heard_s: float = 1.0) -> float:
    """Let the caller ask, and a rung guess what; return when the caller stopped."""
    bench.begin()
    bench.pass_s(0.2)
    guess(bench, "a", guessed, end_s=bench.hearing.sound.end_s - 0.2 + heard_s)
    bench.pass_s(0.2)
    bench.stop()
    bench.turn.caller_stopped(bench.now - 0.2)
    return bench.now - 0.2


def passed_on(actions: list[HearingAction]) -> list[PassOn]:
    return [action for action in actions if isinstance(action, PassOn)]


def guesses(actions: list[HearingAction]) -> list[str | None]:
    """Return the guesses that were delivered as final."""
    return [action.new_text for action in actions if isinstance(action, PassOn) and action.guess]


@pytest.mark.parametrize("end_s", [None, 1.4], ids=["no word of how far", "to the end"])
def test_the_last_interim_result_replaces_an_empty_final(end_s: float | None) -> None:
    bench = up()
    asks(bench)

    assert guesses(bench.write("a", "", end_s=end_s)) == [WHOLE]
    assert guesses(bench.pass_s(8.0)) == []
    utterance = bench.hearing.utterance
    assert utterance is not None
    assert not utterance.awaits_words(bench.now)


def test_words_retracted_as_noise_are_not_attributed_to_the_caller() -> None:
    bench = up()
    bench.pass_s(1.0)
    guess(bench, "a", "This", end_s=bench.hearing.sound.end_s)

    assert guesses(bench.write("a", "", end_s=bench.hearing.sound.end_s)) == []
    asks(bench)
    assert guesses(bench.write("a", "", end_s=bench.hearing.sound.end_s)) == [WHOLE]


def test_an_empty_final_after_one_with_words_uses_no_interim_guess() -> None:
    bench = up()
    asks(bench)
    bench.write("a", "What are your ours", end_s=bench.hearing.sound.end_s)

    assert guesses(bench.pass_s(8.0)) == []
    assert guesses(bench.write("a", "", end_s=bench.hearing.sound.end_s)) == []


def test_the_last_interim_result_replaces_a_missing_final() -> None:
    bench = up()
    stopped = asks(bench)
    written = bench.pass_s(0.9)

    assert guesses(written) == [WHOLE]
    assert bench.now - stopped < 1.5
    assert bench.hearing.utterance is not None
    assert bench.hearing.utterance.attempting.over
    assert not any(isinstance(action, KeepTurnOpen) for action in bench.pass_s(8.0))


def test_a_final_after_its_guess_was_used_is_not_written_again() -> None:
    bench = up()
    stop_s = bench.hearing.sound.end_s + 0.2
    words = tuple(
        HeardWord(text=text, start_s=stop_s + at * 0.1, end_s=stop_s + at * 0.1 + 0.1)
        for at, text in enumerate(WHOLE.split())
    )
    bench.begin()
    bench.pass_s(0.6)
    heard = Heard(
        text=WHOLE, final=False, interim=True, flushed=False, end_s=stop_s + 1, words=words
    )
    bench.read("a", heard)
    bench.stop()

    assert guesses(bench.pass_s(0.9)) == [WHOLE]
    assert bench.write("a", WHOLE, end_s=stop_s + 1, words=words) == []


@pytest.mark.parametrize(
    ("final", "new"), [(WHOLE, []), (f"{WHOLE} today?", [PassOn("today?")])], ids=["same", "longer"]
)
@pytest.mark.parametrize("goes_on", [False, True], ids=["silent", "speaks again"])
def test_only_the_part_missing_from_its_guess_is_delivered_of_a_final_without_word_times(
    final: str, new: list[PassOn], *, goes_on: bool
) -> None:
    bench = up()
    asks(bench)

    assert guesses(bench.pass_s(0.9)) == [WHOLE]
    if goes_on:
        bench.begin()
        bench.pass_s(0.3)
    assert passed_on(bench.write("a", final)) == new
    bench.pass_s(0.1)
    assert passed_on(bench.write("a", WHOLE)) == [PassOn(None)]  # said again


@pytest.mark.parametrize("again", ["five", "Five."])
@pytest.mark.parametrize(("gap_s", "new"), [(0.0, []), (0.02, []), (0.2, [PassOn(None)])])
@pytest.mark.parametrize("stops", [False, True], ids=["in the utterance", "after it"])
def test_a_final_without_word_times_that_comes_twice_at_once_is_delivered_once(
    again: str, gap_s: float, new: list[PassOn], *, stops: bool
) -> None:
    bench = up()
    bench.begin()
    bench.pass_s(0.6)
    if stops:
        bench.stop()

    assert passed_on(bench.write("a", "five")) == [PassOn(None)]
    bench.pass_s(gap_s)
    assert passed_on(bench.write("a", again)) == new


@pytest.mark.parametrize("stalled", ["the recogniser", "the line"])
def test_a_word_that_is_said_twice_is_delivered_twice_after_a_stall(stalled: str) -> None:
    bench = up()
    bench.begin()
    bench.pass_s(0.4)
    if stalled == "the recogniser":
        bench.stop()
        bench.pass_s(0.4)
        bench.begin()
        bench.pass_s(0.4)

    assert passed_on(bench.write("a", "five")) == [PassOn(None)]
    if stalled == "the line":
        bench.stall(0.3)
    assert passed_on(bench.write("a", "five")) == [PassOn(None)]
    assert passed_on(bench.write("a", "five")) == []  # the second one was sent twice


def test_a_word_that_is_said_twice_is_delivered_twice_by_a_standby_that_hears_it_again() -> None:
    bench = up()
    bench.begin()
    bench.pass_s(0.6)
    bench.fail("a")

    assert [passed_on(bench.write("b", "five")) for _ in range(2)] == [[PassOn(None)]] * 2


def test_a_word_said_again_is_delivered_although_its_final_follows_that_of_a_guess_at_once() -> (
    None
):
    bench = up()
    asks(bench)
    assert guesses(bench.pass_s(0.9)) == [WHOLE]
    bench.begin()
    bench.pass_s(0.6)

    assert passed_on(bench.write("a", WHOLE)) == []  # it was passed on as a guess
    assert passed_on(bench.write("a", WHOLE)) == [PassOn(None)]


@pytest.mark.parametrize(("end_s", "new"), [(1.4, []), (1.6, [PassOn(None)])])
def test_equal_finals_that_come_at_once_are_told_apart_by_the_ends_that_they_report(
    end_s: float, new: list[PassOn]
) -> None:
    bench = up()
    bench.begin()
    bench.pass_s(0.6)

    assert passed_on(bench.write("a", "five", end_s=1.4)) == [PassOn(None)]
    assert passed_on(bench.write("a", "five", end_s=end_s)) == new


def test_the_final_of_a_guess_that_comes_twice_is_delivered_neither_time() -> None:
    bench = up()
    asks(bench)
    assert guesses(bench.pass_s(0.9)) == [WHOLE]

    assert passed_on(bench.write("a", WHOLE)) == passed_on(bench.write("a", WHOLE)) == []


@pytest.mark.parametrize("after_s", [0.2, 1.5])
def test_the_words_of_a_guess_are_delivered_again_if_they_are_said_again(after_s: float) -> None:
    bench = up()
    asks(bench)
    assert guesses(bench.pass_s(0.9)) == [WHOLE]
    if after_s < 1.0:
        bench.write("a", WHOLE)  # its final result
    bench.pass_s(after_s)
    bench.begin()

    assert passed_on(bench.write("a", WHOLE)) == [PassOn(None)]


def test_words_said_again_are_kept_if_the_recogniser_sends_no_final_results() -> None:
    bench = up()
    asks(bench)
    assert guesses(bench.pass_s(0.9)) == [WHOLE]
    bench.pass_s(0.2)
    asks(bench)

    assert guesses(bench.pass_s(0.9)) == [WHOLE]


def test_a_guess_that_lacks_the_end_waits_for_another_recogniser() -> None:
    bench = up()
    asks(bench, guessed="What are", heard_s=-0.4)

    assert guesses(bench.pass_s(1.5)) == []
    assert PassOn(None) in bench.write("b", WHOLE, end_s=2.0)


def test_a_guess_without_an_end_covers_no_sound_that_came_after_it() -> None:
    bench = up()
    bench.begin()
    guess(bench, "a", "What are", end_s=None)
    bench.pass_s(0.6)
    bench.stop()
    bench.turn.caller_stopped(bench.now - 0.2)

    assert guesses(bench.pass_s(1.5)) == []
    assert PassOn(None) in bench.write("b", WHOLE)


@pytest.mark.parametrize("end", ["the last rung dies", "none writes a final in time"])
def test_a_guess_is_delivered_when_no_recogniser_is_left(end: str) -> None:
    bench = up("a") if end == "the last rung dies" else up()
    asks(bench, guessed="What are", heard_s=-0.4)
    written = bench.fail("a") if end == "the last rung dies" else []
    written += bench.pass_s(8.0)

    assert guesses(written) == ["What are"]
    assert guesses(bench.pass_s(8.0)) == []


def test_a_guess_of_a_standby_without_a_final_is_used() -> None:
    bench = up()
    asks(bench, guessed="What are", heard_s=-0.4)
    bench.pass_s(1.0)
    guess(bench, "b", WHOLE, end_s=2.0)

    assert guesses(bench.pass_s(1.0)) == [WHOLE]
