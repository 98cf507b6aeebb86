"""Decides which recognisers get the caller's audio, and which of their words are passed on.

Between utterances, the best connected rung gets the caller's audio live. When an utterance begins,
`Attempting` picks the rung to ask. If that rung already gets the audio, nothing more is sent. If
not, it gets the utterance from its first word, then the live audio. Each word is passed on once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

from calls.transcript import Heard
from calls.turn import Turn
from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    Done,
    Dropped,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Stop,
    Use,
)
from fallbacks.attempts import Attempting
from fallbacks.classification import classify_symptom
from fallbacks.events import AttemptFailed
from fallbacks.failure import Failure, Kind, failed
from fallbacks.ladder import StagePolicy, rank
from fallbacks.stt_times import (
    BETTER_RUNG_EVERY_S,
    FINAL_RESULT_S,
    LATE_FINAL_S,
    TURN_HELD_S,
    UNTIMED_S,
)
from fallbacks.symptoms import Symptom
from processors.hearing.feed_rules import AskForWords, Feed, FeedAction, Reconnect
from processors.hearing.replay_rules import SoundRing, Transcripts
from processors.hearing.utterance_rules import CallerUtterance

IDLE_KEPT_S: Final = 2.0  # audio that is kept between utterances; a VAD reports 0.2 s late
LEAD_IN_S: Final = 1.0  # earlier audio for a rung whose feed begins between utterances
OVERLAP_S: Final = 0.1  # audio before the last utterance's end that may be replayed
NO_ATTEMPT: Final = 0  # no attempt has this number


@dataclass(frozen=True, slots=True)
class PassOn:
    """Pass on the result that was just read.

    Attributes:
        new_text: The new part of the result; `None` if all of it is new.
        guess: Pass on the latest interim result instead, as a final one, because the final one is
            empty or missing.
    """

    new_text: str | None
    guess: bool = False


@dataclass(frozen=True, slots=True)
class KeepTurnOpen:
    """Delay the end of the turn, because words of it are pending."""


HearingAction: TypeAlias = EmitEvent | FeedAction | PassOn | KeepTurnOpen
"""The actions of `CallerHearing`."""


class CallerHearing:
    """The ladder of recognisers of one call.

        hearing = CallerHearing(rungs, policy=policy, turn=turn)
        actions = hearing.begin_speech(0.2, now)
        actions = hearing.tick(now)  # at `wake_at`

    Attributes:
        feeds: Each rung's feed, by the rung's name, the preferred one first.
        writer: The feed of the rung whose words are used.
        sound: The caller's audio; to be set before the first piece arrives.
        utterance: The latest utterance; words of it may still be pending.
    """

    def __init__(
        self,
        rungs: Mapping[str, bool],
        *,
        policy: StagePolicy,
        turn: Turn,
        offered: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Create the ladder of one call.

        Args:
            rungs: For each rung's name, whether we reconnect it ourselves; the preferred one first.
            policy: The stage's settings and state, shared by all calls.
            turn: Gives the deadlines for words.
            offered: Returns whether a rung can be asked in this call.
        """
        self.feeds = {
            name: Feed(name, reconnected_by_us=ours, lag=policy.lag) for name, ours in rungs.items()
        }
        self.writer = next(iter(self.feeds.values()))
        self.sound = SoundRing(bytes_a_second=32_000)
        self._policy = policy
        self._turn = turn
        self._begin = partial(
            Attempting,
            policy,
            numbers=turn.attempts,
            offered=offered,
            hears=lambda name: _is_fed_without_attempt(self.feeds[name]),
        )
        self.utterance: CallerUtterance | None = None
        self._transcripts = Transcripts()
        self._writing = NO_ATTEMPT  # the attempt whose words are passed on
        # Words that are too soft for the VAD are passed on even before the first utterance.
        self._transcripts.use_recogniser(NO_ATTEMPT, replayed=False)
        self._recheck_s = 0.0  # when to check for a better rung, in seconds of the caller's audio
        self._stopped_s = 0.0  # when the VAD last reported a stop, in seconds of the caller's audio
        # When the caller stopped, words were passed on, or the turn's end was delayed: the latest.
        self._last_event_at = 0.0
        self._final_until = 0.0  # until when the final result of a guess may follow

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        utterance = _in_progress(self.utterance)
        if utterance is None:
            return None
        moments = [feed.mute_at for feed in self.feeds.values() if feed.attempt is not None]
        moments += [
            utterance.attempting.wake_at,
            _guess_at(utterance, self._transcripts, self._last_event_at),
        ]
        moments += [] if utterance.speaking else [self._last_event_at + TURN_HELD_S]
        return min((moment for moment in moments if moment is not None), default=None)

    def tick(self, now: float) -> tuple[HearingAction, ...]:
        """Return the actions that are due by now, and count the failures of mute rungs.

        A rung is mute if it sends no results although it should; our own stalls do not count. While
        words are pending, the turn is kept open.
        """
        self._policy.lag.count_stall(now)
        actions: list[HearingAction] = []
        for feed in self.feeds.values():
            mute = feed.attempt is not None and feed.found_mute(now)
            if mute and _in_progress(self.utterance):
                actions += self.fail(
                    feed.provider, _failure_from_symptom(Symptom.NO_RESULTS, feed), now
                )
        utterance = _in_progress(self.utterance)
        if utterance is None:
            return tuple(actions)
        winner = utterance.attempting.winner
        guess_at = _guess_at(utterance, self._transcripts, self._last_event_at)
        if winner is not None and guess_at is not None and now >= guess_at:
            actions += _pass_on_guess(self._transcripts)
            self._final_until = now + LATE_FINAL_S
            actions += self._carry_out(
                utterance.attempting.handle(Finished(attempt=winner), now), now
            )
            return tuple(actions)
        actions += self._carry_out(utterance.tick(now), now)
        if not utterance.speaking and now >= self._last_event_at + TURN_HELD_S:
            self._last_event_at = now
            actions += [KeepTurnOpen()] if utterance.awaits_words(now) else []
        return tuple(actions)

    def hear(self, sound: bytes, now: float) -> tuple[HearingAction, ...]:
        """Keep the caller's next audio, 16-bit mono.

        Return the actions that send it to the open feeds. From time to time, also look for a better
        rung. Old audio is dropped between utterances.
        """
        self.sound.push(sound)
        utterance = self.utterance
        if utterance is None or (utterance.attempting.over and not utterance.untranscribed(now)):
            self.sound.forget(self.sound.end_s - IDLE_KEPT_S)
        fed: list[HearingAction] = [
            item for feed in self.feeds.values() for item in feed.send(self.sound, (sound,), now)
        ]
        if self.sound.end_s >= self._recheck_s:  # a rung's recovery is not reported to us
            self._recheck_s = self.sound.end_s + BETTER_RUNG_EVERY_S
            fed += self._feed_next_rung(now)
        return tuple(fed)

    def begin_speech(self, vad_delay_s: float, now: float) -> tuple[HearingAction, ...]:
        """Ask for the words of an utterance that began `vad_delay_s` ago.

        If words of the last utterance are still pending, that utterance continues. A rung that gets
        the audio but is not asked gets no more of it, unless no rung may be asked.
        """
        current, latest = _in_progress(self.utterance), self.utterance
        if current:
            current.go_on(now)
            self._transcripts.go_on()
            marks = (feed.mark(self.sound, now, speaking=True) for feed in self.feeds.values())
            return tuple(action for actions in marks for action in actions)
        began_s, not_before_s = self.sound.end_s - vad_delay_s, self._stopped_s - OVERLAP_S
        if latest and latest.untranscribed(now):  # its words are still needed
            began_s, not_before_s = latest.began_s, latest.not_before_s
        self.utterance = utterance = CallerUtterance(
            self._begin, began_s=began_s, not_before_s=not_before_s, turn=self._turn
        )
        self._transcripts.start_utterance(final_pending=now <= self._final_until)
        actions = list(self._carry_out(utterance.start(now), now))
        for feed in self.feeds.values():
            if feed.attempt is None and utterance.attempting.over:
                # No rung may be asked; one that gets the audio anyway may still transcribe it.
                actions += feed.mark(self.sound, now, speaking=True)
            elif feed.attempt is None:
                actions += feed.end()
        return tuple(actions)

    def pause_speech(self) -> tuple[HearingAction, ...]:
        """Ask for the words so far, before it is certain that the caller has stopped.

        If the caller goes on, later words are transcribed as usual.
        """
        if _in_progress(self.utterance) is None:
            return ()
        hearing = (feed for feed in self.feeds.values() if feed.open and feed.attempt is not None)
        return tuple(AskForWords(feed.provider) for feed in hearing)

    def stop_speech(self, vad_delay_s: float, now: float) -> tuple[HearingAction, ...]:
        """Wait for the last words: the caller stopped `vad_delay_s` ago.

        Every rung that gets the audio is told that the caller stopped.
        """
        self._last_event_at, self._stopped_s = now, self.sound.end_s
        marks = (feed.mark(self.sound, now, speaking=False) for feed in self.feeds.values())
        actions = tuple(item for marked in marks for item in marked)
        if self.utterance is None:
            return actions
        stopped = self.utterance.stop(self._stopped_s, vad_delay_s, now)
        return (*actions, *self._carry_out(stopped, now))

    def read_result(self, provider: str, result: Heard, now: float) -> tuple[HearingAction, ...]:
        """Return the actions for a result, among them `PassOn` if it has new words.

        A rung sends results even when there is no speech.
        """
        feed = self.feeds[provider]
        feed.note_result(now, words=bool(result.text))
        heard = feed.in_caller_seconds(result)
        utterance, attempt, actions = _in_progress(self.utterance), feed.attempt, ()
        if heard is None or (utterance and attempt is None):
            return ()  # from an earlier feed, or late words of an attempt that has ended
        if utterance and attempt is not None:
            actions = self._carry_out(utterance.read_result(attempt, heard, now), now)
        used = utterance.attempting.winner == attempt if utterance else feed is self.writer
        if not used:
            return actions
        if heard.final and not heard.text and utterance:
            return (*actions, *_pass_on_guess(self._transcripts))
        if heard.text or not utterance:  # between utterances there is no speech to guess
            # Without a reported end, it may reach to the last audio so far, and little beyond.
            end_s = self.sound.end_s + UNTIMED_S if heard.end_s is None else heard.end_s
            guess = None if heard.final or not utterance else replace(heard, end_s=end_s)
            self._transcripts.guess = guess
        new_text = _new_text(
            heard,
            result.text,
            transcripts=self._transcripts,
            writing=self._writing,
            came_at=(now, self.sound.end_s),
        )
        if new_text == "":
            return actions
        self._last_event_at = now
        return (*actions, PassOn(new_text=new_text))

    def fail(self, provider: str, failure: Failure, now: float) -> tuple[HearingAction, ...]:
        """Return the actions after a rung failed: reconnect it, and ask another if it was asked.

        Outside an attempt, the failure is counted here, except a time-out that we may have caused.
        """
        feed = self.feeds[provider]
        utterance, attempt = _in_progress(self.utterance), feed.attempt
        feed.attempt, feed.waits = None, False
        feed.opening.end()
        feed.lose()
        actions: list[HearingAction] = [Reconnect(feed.provider)]
        if utterance and attempt is not None:
            event = Failed(attempt=attempt, failure=failure)
            actions += self._carry_out(utterance.handle(event, now), now)
        elif failure.kind is not Kind.TIMEOUT or not self._policy.lag.stalled_lately(now):
            # A time-out that may have expired because we stalled is not counted.
            actions += _count_failure(failure, self._policy, self._turn, now)
        return (*actions, *self._feed_next_rung(now))

    def opened(self, provider: str, now: float) -> None:
        """Record that a rung's first connection is being opened.

        If it takes too long, that is counted as a failure later.
        """
        self.feeds[provider].opening.note_started(now)

    def connected(self, provider: str, now: float) -> tuple[HearingAction, ...]:
        """Record that a rung can receive audio; return the actions that feed it if it is needed.

        If no rung was left for the latest utterance, that utterance is asked for again.
        """
        utterance, feed = self.utterance, self.feeds[provider]
        feed.connected = True
        feed.opening.end()
        actions: tuple[HearingAction, ...] = ()
        if feed.waits and utterance:
            utterance.transcribed_s = self._transcripts.again_from_s
            actions = utterance.feed(feed, self.sound, now)
        elif utterance and utterance.untranscribed(now):
            actions = self._carry_out(utterance.start_again(now), now)
        return (*actions, *self._feed_next_rung(now))

    def no_place(self, attempt: int, now: float) -> tuple[HearingAction, ...]:
        """End an attempt whose rung has no place for this call, so that the next one is asked."""
        dropped = Dropped(attempt=attempt, because="limit")
        return self._carry_out(self.utterance.handle(dropped, now), now) if self.utterance else ()

    def _carry_out(
        self, actions: tuple[AttemptAction, ...], now: float
    ) -> tuple[HearingAction, ...]:
        """Carry out the attempts' actions on the feeds; return those left for the stage."""
        done: list[HearingAction] = []
        for action in actions:
            match action:
                case EmitEvent():
                    done.append(action)
                case Ask() if self.utterance:
                    self.utterance.transcribed_s = self._transcripts.again_from_s
                    feed = self.feeds[action.provider]
                    done += self.utterance.ask(feed, action, self.sound, now)
                case Use():
                    self.writer, self._writing = self.feeds[action.provider], action.attempt
                    replayed, from_s = self.writer.replayed, self.writer.from_s
                    self._transcripts.use_recogniser(
                        action.attempt, replayed=replayed, from_s=from_s
                    )
                case Stop():
                    done += _end_attempts_feed(self.feeds[action.provider], action)
                case Exhausted():
                    done += _pass_on_guess(self._transcripts)
                case Done():
                    self.feeds[action.provider].transcribed()
                    done += self._feed_next_rung(now)
                case _:
                    pass
        return tuple(done)

    def _feed_next_rung(self, now: float) -> tuple[HearingAction, ...]:
        """Between utterances, return the actions that feed the rung which will be asked next.

        It takes the place of the rung that got the audio. Overdue first connections are counted as
        failures, also within an utterance.
        """
        actions: list[HearingAction] = []
        for feed in self.feeds.values():
            if feed.attempt is None and feed.opening.note_overdue(now):
                actions += _count_failure(
                    _failure_from_symptom(Symptom.NO_ANSWER, feed), self._policy, self._turn, now
                )
        if _in_progress(self.utterance):
            return tuple(actions)
        until = self.utterance.until(now) if self.utterance else self._turn.unhurried_until(now)
        ranked = [self.feeds[item] for item in rank(self._policy.usable(now), until, now=now)]
        reachable = (item for item in ranked if item.connected or item.opening.under_way)
        best = next(reachable, None)
        if best is None or not best.connected or best.open:
            return tuple(actions)
        if best is not self.writer:
            actions += self.writer.end()
            self.writer, self._writing = best, NO_ATTEMPT
            self._transcripts.use_recogniser(NO_ATTEMPT, replayed=False)
        from_s = max(self.sound.start_s, self.sound.end_s - LEAD_IN_S)
        if self.utterance and self.utterance.is_transcribed:  # not again: its words may lack times
            from_s = max(from_s, self._stopped_s - OVERLAP_S)
        return (*actions, *best.start_feed(self.sound, from_s, now))


def _is_fed_without_attempt(feed: Feed) -> bool:
    """Return whether a rung has no attempt, but already gets the caller's audio.

    Such a rung may transcribe the next words even if no rung may be asked because other calls
    cannot connect. Otherwise a caller would be told that they were not understood although a rung
    understands them.
    """
    return feed.connected and feed.attempt is None and (feed.open or feed.wrote)


def _guess_at(
    utterance: CallerUtterance, transcripts: Transcripts, last_event_at: float
) -> float | None:
    """Return when to pass on the last interim result as final; `None` if there is no complete one.

    It is complete if it reaches the end of the caller's speech.
    """
    guess = transcripts.guess
    if guess is None or utterance.speaking:
        return None
    complete = guess.end_s is not None and guess.end_s >= utterance.spoken_until_s
    return last_event_at + FINAL_RESULT_S if complete else None


def _pass_on_guess(transcripts: Transcripts) -> tuple[PassOn, ...]:
    """Return the action that passes on the last interim result as final, if it has new words."""
    new_text = transcripts.deliver_guess()
    return (PassOn(new_text, guess=True),) if new_text else ()


def _end_attempts_feed(feed: Feed, stop: Stop) -> tuple[HearingAction, ...]:
    """Return the actions that end an attempt's feed; none if its rung has been asked again since.

    A rung that was late is reconnected as well, because its stream may be stuck.
    """
    if feed.attempt != stop.attempt:
        return ()
    ended = feed.end()
    if stop.because != "late":
        return ended
    feed.renew()  # its stream may be stuck
    return (*ended, Reconnect(feed.provider))


def _in_progress(utterance: CallerUtterance | None) -> CallerUtterance | None:
    return utterance if utterance is not None and not utterance.attempting.over else None


def _failure_from_symptom(symptom: Symptom, feed: Feed) -> Failure:
    """Return the failure that a symptom of this feed's recogniser means."""
    return failed(classify_symptom(symptom), "stt", provider=feed.provider)


def _count_failure(
    failure: Failure, policy: StagePolicy, turn: Turn, now: float
) -> tuple[EmitEvent, ...]:
    """Count a failure outside an attempt, such as a lost standby, in the availability of its rung.

    Returns the events to emit; none if the rung is already known to be unavailable.
    """
    rung = policy.availability.of(policy.stage, failure.provider)
    permit = rung.permit(now)
    if permit is None:
        return ()  # already known
    events = policy.availability.failed(permit, failure, now=now, call=turn.attempts)
    return tuple(map(EmitEvent, (AttemptFailed.of(rung.as_known(failure)), *events)))


def _new_text(
    heard: Heard,
    written: str,
    *,
    transcripts: Transcripts,
    writing: int,
    came_at: tuple[float, ...],
) -> str | None:
    """Return the new part of a result; `None` if all of it is new, empty if nothing is.

    Args:
        heard: The result, without words from an earlier feed.
        written: The text of the whole result.
        transcripts: The transcripts passed on before; a final result is added to them.
        writing: The attempt whose words are used.
        came_at: When it came: the time, and the length of the caller's stream.
    """
    if not heard.text:
        return ""
    if heard.interim:
        return None if heard.text == written else heard.text
    whole = " ".join(word.text for word in heard.words) if heard.words else heard.text
    came_at += () if heard.end_s is None else (heard.end_s,)
    new = transcripts.deliver(writing, heard.text, words=heard.words, came_at=came_at)
    return None if new == whole and heard.text == written else new
