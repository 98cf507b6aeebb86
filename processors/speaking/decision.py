"""One utterance on the ladder of voices: which voice speaks which part, and what is played.

If a voice fails, the next one is asked for the rest, from the first word that has not fully
arrived. The audio of a new voice is held until that voice is chosen; if another one is chosen, it
is dropped.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from calls.line import CallerLine
from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    Done,
    Dropped,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Paused,
    Progressed,
    Resumed,
    Stop,
    Use,
)
from fallbacks.attempts import Attempting
from fallbacks.classification import classify_symptom
from fallbacks.deadline import Deadline
from fallbacks.events import StageExhausted, WordsTimed
from fallbacks.failure import Scope, Severity, failed
from fallbacks.symptoms import Symptom
from fallbacks.tts_times import (
    ALIGN_LONG_S,
    ALIGN_S,
    NEXT_VOICE_S,
    NO_TEXT_S,
    REPORT_END_S,
    STALL_S,
    STUCK_S,
    UNTIMED_END_S,
)
from fallbacks.word_times import as_written, is_cut_short
from processors.speaking.alignment_rules import (
    LONG_S,
    AlignSound,
    Part,
    SoundAligned,
    is_doubtful,
    learn_pace,
)
from processors.speaking.drift_rules import TimeCheck
from processors.speaking.ledger_rules import SoundCame, SoundOutlet, WordTimed
from processors.speaking.speech_actions import (
    AddSentence,
    AskVoice,
    CorrectHeard,
    EndSpeech,
    EndText,
    MuteVoice,
    SpeechAction,
    VoiceEvent,
)

NO_VOICE: Final = 0  # no voice is in use yet; attempt numbers begin with 1


@dataclass(slots=True)
class _Live:
    """An attempt in progress."""

    provider: str
    first: int  # the first word of the text that it speaks
    ends: list[int]  # the word after this text, and after each that follows
    from_s: float = 0.0  # where the sound of this text begins
    aligned: bool = False  # whether its sound was aligned when it ended
    cut: bool = False  # whether its last words were not found
    held: list[SoundCame | WordTimed] = field(default_factory=list[SoundCame | WordTimed])
    last: WordTimed | None = None  # the latest word time: a voice may report it twice
    idle_since: float | None = None  # when it had sent the audio of all its text
    idle_ends: list[int] = field(default_factory=list[int])  # `ends` at that time
    spoke_at: float = 0.0  # when its last speech came

    @property
    def part(self) -> Part:
        """The text that it speaks."""
        return self.first, self.ends[0] if self.ends else self.first, self.from_s

    def idle_until(self, *, accepts: bool, is_sure: bool) -> float | None:
        """Return until when it may be idle, waiting for text (`accepts`) or before its end.

        Unless the voice has reported the end of its last word (`is_sure`), that it is idle is only
        an estimate, so its speech postpones the end.
        """
        if self.idle_since is None:
            return None
        since = self.idle_since if is_sure else max(self.idle_since, self.spoke_at)
        return since + (NO_TEXT_S if accepts else REPORT_END_S if is_sure else UNTIMED_END_S)


class SpokenUtterance:
    """One utterance, from its first sentence until its last audio has gone to the line.

        speech = SpokenUtterance(attempting, line=line, rate_hz=8000, until=until)
        actions = speech.start("We open at nine.", now)
        actions = speech.handle(SoundCame(attempt=1, pcm=pcm, speaking=True), now)
        actions = speech.tick(now)  # at `wake_at`

    The actions must be carried out in order: a word follows the audio in which it is spoken.

    Attributes:
        accepts: Whether it takes more sentences.
        over: Whether the utterance has ended.
        idle: Whether the voice has sent the audio of all its text.
    """

    def __init__(
        self,
        attempting: Attempting,
        *,
        line: CallerLine,
        rate_hz: int,
        until: Deadline,
        protected: bool = False,
    ) -> None:
        """Create an utterance without text; `start` asks the first rung.

        Args:
            attempting: Decides which rung is asked.
            line: The caller's line.
            rate_hz: The sample rate of all audio.
            until: When even a late answer is given up.
            protected: Whether the utterance cannot be interrupted.
        """
        self.accepts = True
        self.over = False
        self.idle = False
        self._attempting = attempting
        self._line = line
        self._outlet = SoundOutlet(line, rate_hz=rate_hz, protected=protected)
        self._ledger = self._outlet.ledger
        self._live: dict[int, _Live] = {}
        self._voice = NO_VOICE  # the attempt whose audio is used
        self._first_word = 0  # of that voice: the number of words of earlier voices
        self._until = until
        # The voices that ended early, by the number of words that they left unspoken.
        self._unspoken: dict[int, set[str]] = {}
        self._awaited: AlignSound | None = None  # the alignment in progress
        self._align_until: float | None = None  # when it is given up
        self._deferred = deque[VoiceEvent]()  # they wait for it
        self._counts_heard = False  # how the times are known is reported for the words heard
        self._check = TimeCheck(attempting.policy)
        self._actions: list[SpeechAction] = []

    @property
    def characters_left(self) -> int:
        """The length of the text that has not gone to the line."""
        return self._ledger.words.characters_from(self._outlet.released_words)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`; during an alignment, when that is given up."""
        if self.over:
            return None
        if self._align_until is not None:
            return self._align_until
        moments = (
            self._attempting.wake_at,
            self._idle_until,
            self._outlet.drained_at,
            self._stuck_at,
            self._align_at,
        )
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def _idle_until(self) -> float | None:
        """Until when the voice may be idle; `None` if it is not."""
        voice, ledger = self._live.get(self._voice), self._ledger
        is_sure = ledger.words.timed and ledger.reports_ends
        return voice.idle_until(accepts=self.accepts, is_sure=is_sure) if voice else None

    @property
    def _align_at(self) -> float | None:
        """When an untimed voice's words must be known: it stalls, or was heard for long."""
        live, stalls_at = self._live.get(self._voice), self._outlet.stalls_at
        if live is None or stalls_at is None:
            return None
        is_long = self._outlet.kept.length_s > LONG_S
        return live.spoke_at if is_long else max(stalls_at, live.spoke_at + STALL_S)

    def start(self, text: str, now: float) -> tuple[SpeechAction, ...]:
        """Ask the first rung to speak the sentences so far.

        The first audio may take `NEXT_VOICE_S` even if the deadline is sooner.
        """
        self._until = self._until.no_sooner_than(now + NEXT_VOICE_S)
        self._ledger.hand_over(f"{text} ")
        self._carry_out(self._attempting.start(self._until, now), now)
        return self._release_and_collect(now)

    def add(self, sentence: str, now: float) -> tuple[SpeechAction, ...]:
        """Add a sentence, and give it to the voices that are working; return all actions.

        After the end of the utterance, it is ignored.
        """
        if not self.over:
            self._ledger.hand_over(f"{sentence} ")
            for live in self._live.values():
                live.ends.append(len(self._ledger.words.words))
                self._actions.append(AddSentence(provider=live.provider, sentence=sentence))
        return self._release_and_collect(now)

    def end_text(self, now: float) -> tuple[SpeechAction, ...]:
        """Record that no sentence follows, and tell the voices; a second call changes nothing."""
        if self.accepts:
            self.accepts = False
            self._actions += [EndText(provider=live.provider) for live in self._live.values()]
        return self._release_and_collect(now)

    @property
    def released_s(self) -> float:
        """The seconds of its audio that went to the line."""
        return self._ledger.released_s

    def align_heard(self, unplayed_s: float) -> tuple[SpeechAction, ...]:
        """Ask which words of an untimed voice an interrupted caller has heard, if that is possible.

        Called before `interrupt`, which then leaves the report of word times to the result.

        Args:
            unplayed_s: The seconds of its audio that the line had not played.
        """
        if self._ledger.words.timed:
            return ()
        asked = self._request_alignment(self.released_s - unplayed_s)
        self._counts_heard = asked is not None
        return (asked,) if asked else ()

    def interrupt(self, now: float) -> tuple[SpeechAction, ...]:
        """Drop the rest: the caller speaks.

        The utterance is over then; no attempt counts as failed.
        """
        if not self.over:
            self._carry_out(self._attempting.cancel("caller"), now)
            self._end_utterance()
        return self._release_and_collect(now)

    def handle(self, event: VoiceEvent | SoundAligned, now: float) -> tuple[SpeechAction, ...]:
        """Decide on a voice's event; events of an ended attempt are ignored.

        During an alignment, events wait for its result.
        """
        if isinstance(event, SoundAligned):
            self._take_alignment(event, now)
        elif not self.over and event.attempt in self._live:
            self._deferred.append(event)
            self._work_off(now)
        self._begin_alignment(now)
        return self._release_and_collect(now)

    def tick(self, now: float) -> tuple[SpeechAction, ...]:
        """Return the actions that are due by now; none once the utterance is over.

        During an alignment, nothing else is decided until its time limit.
        """
        if self.over:
            return ()
        self._begin_alignment(now)
        if self._align_until is None or self._align_until <= now:
            self._end_alignment(now)
        if self._align_until is not None:
            return self._release_and_collect(now)
        self._carry_out(self._attempting.tick(now), now)
        if not self.over and self._stuck_at is not None and self._stuck_at <= now:
            self._give_up(now)
        if (idle_until := self._idle_until) is not None and idle_until <= now:
            if self.accepts:
                return self.end_text(now)
            if self._ledger.sent:
                self._end_voice(now)
        return self._release_and_collect(now)

    def _work_off(self, now: float) -> None:
        """Decide on the events that waited, in order, until one must wait for an alignment."""
        while self._deferred and self._align_until is None:
            event = self._deferred[0]
            live = None if self.over else self._live.get(event.attempt)
            if live and event.attempt == self._voice and self._aligns_first(event, live, now):
                return
            self._deferred.popleft()
            if live:
                self._handle_attempt_event(event, live, now)

    def _aligns_first(self, event: VoiceEvent, live: _Live, now: float) -> bool:
        """Return whether an event must wait for an alignment, which is then requested.

        Events that end a part of the speech wait if it is doubtful which words were spoken. After
        its last text, the remaining texts of a voice count as one.
        """
        ledger = self._ledger
        if isinstance(event, Failed | Dropped):
            return ledger.alignable and self._ask_alignment(now)
        if not isinstance(event, Finished):
            return False
        live.ends = live.ends if event.more else live.ends[-1:]
        if ledger.words.timed:
            return not event.more and self._checks_first(live.part, now)
        if live.aligned:
            return False
        words, sound_s = ledger.measure(live.part)
        pace = self._attempting.policy.voice_paces.get(live.provider)
        live.aligned = is_doubtful(words, sound_s, ledger.received_s - ledger.audible_s, pace)
        return live.aligned and self._ask_alignment(now, live.part)

    def _checks_first(self, part: Part, now: float) -> bool:
        """Check the times of a voice that has ended if they are in doubt; return whether."""
        ledger = self._ledger
        doubts = self._check.doubts_end(ledger.words, self._outlet.kept, ledger.audible_s)
        asked = self._ask_check(part) if doubts else None
        if asked:
            self._wait_for_alignment(asked, now)
        return asked is not None

    def _begin_alignment(self, now: float) -> None:
        """Ask for an alignment if one is due and none is in progress."""
        if self.over or self._align_until is not None or self._voice not in self._live:
            return
        due = (self._attempting.wake_at, self._idle_until, self._align_at)
        is_due = any(at is not None and at <= now for at in due)
        if self._ledger.alignable and is_due:
            self._ask_alignment(now)

    def _ask_alignment(self, now: float, part: Part | None = None) -> bool:
        """Ask for an alignment; if that is impossible, estimate the words and return False."""
        if asked := self._request_alignment(part=part):
            self._actions.append(asked)
            self._wait_for_alignment(asked, now)
        else:
            self._ledger.align(None)
        return asked is not None

    def _wait_for_alignment(self, asked: AlignSound, now: float) -> None:
        """Defer further events until the result, or a limit: later while the line has sound."""
        left_s = min(ALIGN_LONG_S, self._line.queued_s(now) - ALIGN_S)
        self._awaited, self._align_until = asked, now + max(ALIGN_S, left_s)

    def _request_alignment(
        self, until_s: float | None = None, part: Part | None = None
    ) -> AlignSound | None:
        """Return a request for the current voice's sound; `None` if not all of it was kept."""
        words, attempt, received_s = self._ledger.words, self._ledger.attempt, self._ledger.voice_s
        return self._outlet.kept.request(
            words, attempt=attempt, received_s=received_s, until_s=until_s, part=part
        )

    def _ask_check(self, part: Part | None = None) -> AlignSound | None:
        """Collect a request to align words whose reported times are in doubt; return it.

        `None` if their sound is not complete.
        """
        asked = self._request_alignment(part=part)
        if asked:
            words = range(asked.first, asked.first + len(asked.words))
            reported_s = tuple(map(self._ledger.words.end_s, words))
            asked = replace(asked, reported_s=reported_s)
            self._actions.append(asked)
        return asked

    def _judge_times(self, aligned: SoundAligned, now: float) -> None:
        """Compare reported word times with an alignment.

        If the words lie elsewhere in the sound, the voice's times are ignored from now on, and an
        event reports it. Events that waited for the alignment go on.
        """
        rejected = self._check.judge(aligned)
        is_current = aligned.attempt == self._voice and not self.over
        if rejected:
            self._actions.append(EmitEvent(rejected))
        if rejected and is_current:
            self._ledger.words.timed = False
            self._outlet.align(aligned)
            self._live[self._voice].aligned = aligned.asked.ended
        if is_current and aligned.asked is self._awaited:
            self._end_alignment(now)

    def _take_alignment(self, aligned: SoundAligned, now: float) -> None:
        """Use an alignment for what it was requested for.

        It checks reported times, counts the words that an interrupted caller heard, or gives the
        words of a voice without times theirs.
        """
        if aligned.asked.reported_s is not None:
            self._judge_times(aligned, now)
        elif aligned.asked.heard_s is not None:
            words = self._ledger.words.words
            written = tuple(as_written(words, at) for at in range(len(words)))
            ends_s = aligned.ends_s
            heard = None if ends_s is None else aligned.asked.first + len(ends_s)
            self._actions.append(CorrectHeard(words=written, heard=heard))
            self._ledger.count_heard(aligned)
            self._report_times(heard=ends_s is not None)
        elif aligned.asked is self._awaited and aligned.attempt == self._voice and not self.over:
            self._outlet.align(aligned)
            live, asked, ends_s = self._live[self._voice], aligned.asked, aligned.ends_s
            if asked.ended and asked.from_s >= live.from_s and ends_s is not None:
                live.cut = len(ends_s) < len(asked.words)
            self._end_alignment(now)

    def _end_alignment(self, now: float) -> None:
        """Decide on the events that waited; without a result, the words are estimated."""
        if self._align_until is not None and self._ledger.alignable and now >= self._align_until:
            self._ledger.align(None)
        self._awaited = self._align_until = None
        self._work_off(now)

    def _handle_attempt_event(self, event: VoiceEvent, live: _Live, now: float) -> None:
        """Decide on an event of an attempt in progress, `live`; actions are collected."""
        in_use = event.attempt == self._voice
        match event:
            case SoundCame() | WordTimed():
                self._add_output(event, live, now)
            case Finished():
                self._end_text(event, live, now)
            case Failed() if in_use and not self._ledger.rest:  # all of its audio has arrived
                self._end_voice(now)
            case Failed() | Dropped():
                self._end_attempt(event.attempt)
                if isinstance(event, Failed):
                    heard = self._outlet.released_words - self._first_word if in_use else 0
                    event = replace(event, heard_words=max(0, heard))
                self._carry_out(self._attempting.handle(event, now), now)
            case Paused() | Resumed():
                self._carry_out(self._attempting.handle(event, now), now)

    def _end_text(self, event: Finished, live: _Live, now: float) -> None:
        """Decide on the end of a voice's next text, or of all of it.

        If the voice has left words unspoken, it fails instead. Otherwise its words count as spoken,
        and the pace of the voice is updated for all calls.
        """
        ledger, part = self._ledger, live.part
        words, sound_s = ledger.measure(part)
        in_use = event.attempt == self._voice
        if in_use and not ledger.words.timed:
            letters = "".join(word.letters for word in words)
            live.cut = live.cut or is_cut_short(letters, audible_s=sound_s)
        if not in_use or live.cut or (ledger.ends_too_soon and not event.more):
            self._end_early(event.attempt, live, now)
            return
        learn_pace(self._attempting.policy.voice_paces, live.provider, words, sound_s)
        ledger.done(event.attempt, part[1])
        live.first, live.from_s, live.aligned = part[1], ledger.received_s, False
        del live.ends[:1]
        if not event.more:
            self._carry_out(self._attempting.handle(event, now), now)

    def _end_early(self, attempt: int, live: _Live, now: float, *, reason: str = "") -> None:
        """Fail a voice that left words unspoken, so that the next one is asked for them.

        If two voices leave the same number of words unspoken, the text is at fault, and the
        utterance ends: the local voice gets the rest. See `StagePolicy.unspoken`.

        Args:
            attempt: The voice's attempt.
            live: The attempt in progress.
            now: Monotonic, in seconds.
            reason: Why, for the failure; may be empty.
        """
        unspoken, _ = self._ledger.words.measure_untimed(self._ledger.received_s)
        voices = self._unspoken.setdefault(unspoken, set())
        voices.add(live.provider)
        policy, text = self._attempting.policy, (self._attempting.call, self._ledger.rest)
        if len(voices) > 1:
            policy.unspoken = policy.unspoken or text
        if policy.unspoken == text:
            self._give_up(now)
        else:
            in_use = attempt == self._voice
            found = classify_symptom(Symptom.END_UNFINISHED if in_use else Symptom.NO_AUDIO)
            found = replace(found, scope=Scope.REQUEST if live.cut else found.scope)
            again = len(voices) < 2
            failure = failed(found, "tts", provider=live.provider, reason=reason, same_rung=again)
            self._handle_attempt_event(Failed(attempt=attempt, failure=failure), live, now)

    @property
    def _stuck_at(self) -> float | None:
        """When the words that are still missing are given up; `None` if none are."""
        live = self._live.get(self._voice)
        if not self._ledger.rest or (live and live.idle_since is not None):
            return None
        at = self._until.at + STUCK_S
        return max(at, min(self._attempting.policy.lag.ready_at, at + STUCK_S))

    def _give_up(self, now: float) -> None:
        """End the utterance without blaming a voice; the local voice gets the rest."""
        self._carry_out(self._attempting.cancel("text"), now)
        attempts = self._attempting.attempts
        exhausted = StageExhausted(stage="tts", attempts=attempts, severity=Severity.MEDIUM)
        self._carry_out((EmitEvent(exhausted), Exhausted(attempts=attempts)), now)

    def _add_output(self, came: SoundCame | WordTimed, live: _Live, now: float) -> None:
        """Add a voice's audio or word time, or hold it if the voice is not in use.

        Repeated and wrong word times are dropped. Audible sound counts as progress of the attempt.
        A voice in use that left words out fails.
        """
        is_report = isinstance(came, WordTimed)
        if came == live.last or (is_report and self._check.ignores(live.provider)):
            return  # a repeated report, or one that is not right
        if is_report:
            live.last = came
        in_use = came.attempt == self._voice
        if in_use:
            self._outlet.add(came)
            if self._check.doubts(self._ledger.words, self._outlet.kept, self._ledger.received_s):
                self._ask_check()
        else:
            live.held.append(came)
        if isinstance(came, SoundCame) and came.speaking:
            live.spoke_at = now
            self._carry_out(self._attempting.handle(Progressed(attempt=came.attempt), now), now)
            if came.attempt == self._voice:
                # The voice was late, and continues.
                self._outlet.hold_s = self._ledger.asked_from = None
        if came.attempt == self._voice and self._ledger.words.follower.left_out:
            self._end_early(came.attempt, live, now, reason="words were left out")

    def _carry_out(self, actions: tuple[AttemptAction, ...], now: float) -> None:
        """Carry out the actions of `Attempting`, and collect those for the stage.

        A rung that is chosen becomes the voice, with what it has sent so far.
        """
        for action in actions:
            match action:
                case EmitEvent():
                    self._actions.append(action)
                case Ask():
                    self._ask_voice(action)
                case Use():
                    live, self._voice = self._live[action.attempt], action.attempt
                    self._attempting.policy.unspoken = None
                    self._first_word = self._ledger.arrived
                    policy = self._attempting.policy
                    timed = action.provider not in policy.untimed | policy.drifting
                    pace = policy.voice_paces.get(action.provider)
                    self._outlet.switch_voice(action.attempt, live.held, timed=timed, pace=pace)
                    live.from_s = self._ledger.words.base_s
                    self._check.check_voice_from(action.attempt, action.provider, self._first_word)
                    self._actions.append(action)
                case Stop():
                    self._end_attempt(action.attempt)
                case Done() | Exhausted():
                    self._actions += self._outlet.release_last(now)
                    self._actions.append(EndSpeech(unsaid=self._ledger.rest))
                    self._end_utterance()

    def _end_utterance(self) -> None:
        """End the utterance: it takes no text, and the sources of its word times are reported."""
        self.accepts, self.over = False, True
        self._ledger.count_times()
        if not self._counts_heard:
            self._report_times()

    def _report_times(self, *, heard: bool = False) -> None:
        """Publish how the times of words are known, unless all were reported by voices."""
        ledger = self._ledger
        if ledger.aligned or ledger.estimated:
            timed = WordsTimed(
                stage="tts",
                reported=ledger.reported,
                aligned=ledger.aligned,
                estimated=ledger.estimated,
                heard=heard,
            )
            self._actions.append(EmitEvent(timed))

    def _ask_voice(self, ask: Ask) -> None:
        """Collect the request to a rung to speak the rest; its earlier attempt is ended.

        Until the rung is in use, only words that have arrived are released.
        """
        earlier = [n for n, live in self._live.items() if live.provider == ask.provider]
        for attempt in earlier:  # a rung has one attempt at a time
            self._end_attempt(attempt)
        if self._voice != NO_VOICE and self._outlet.hold_s is None:
            self._outlet.hold()
        ends = [len(self._ledger.words.words)]
        self._live[ask.attempt] = _Live(ask.provider, self._ledger.arrived, ends)
        self._actions.append(
            AskVoice(
                provider=ask.provider,
                attempt=ask.attempt,
                rest=self._ledger.rest,
                closed=not self.accepts,
            )
        )

    def _end_attempt(self, attempt: int) -> None:
        """End an attempt and mute its voice; if it was in use, hold its incomplete word.

        An attempt that has ended is ignored.
        """
        live = self._live.pop(attempt, None)
        if live is not None:
            self._actions.append(MuteVoice(provider=live.provider))
        if live is not None and attempt == self._voice:
            self._outlet.hold()

    def _end_voice(self, now: float) -> None:
        """End the utterance: the voice sent every word, but then failed or reported no end."""
        self._ledger.done(self._voice)
        self._end_attempt(self._voice)
        self._carry_out(self._attempting.handle(Finished(attempt=self._voice), now), now)

    def _release_and_collect(self, now: float) -> tuple[SpeechAction, ...]:
        """Release audio, update `idle`, and return all actions that were collected.

        A voice in use becomes idle when it has spoken all of its text, which `Attempting` is told.
        The deadline is moved to the end of the audio on the line.
        """
        if not self.over and self._voice != NO_VOICE:
            self._actions += self._outlet.release(now)
            self._until = self._until.no_sooner_than(self._line.dry_at + NEXT_VOICE_S)
            self._attempting.until = self._until
            live, pending = self._live.get(self._voice), not self._ledger.sent
            if live and pending != (live.idle_since is None):  # it became idle, or has work again
                # Without new text, it is an alignment that shows that words are missing.
                resumed = Resumed(attempt=self._voice, still_silent=live.idle_ends == live.ends)
                live.idle_since, live.idle_ends = None if pending else now, live.ends[:]
                event = resumed if pending else Paused(attempt=self._voice)
                self._carry_out(self._attempting.handle(event, now), now)
        voice = self._live.get(self._voice)
        self.idle = self.over or (voice is not None and voice.idle_since is not None)
        actions, self._actions = tuple(self._actions), []
        return actions
