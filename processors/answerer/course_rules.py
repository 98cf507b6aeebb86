"""The state of answering machine detection in one call, and its transitions.

`processors/answerer/decision.py` decides which transition is due, and when. `at` and `now` are
monotonic, in seconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from processors.answerer.answerer_rules import (
    BY_CUE,
    Answerer,
    AnsweringAction,
    AnsweringRules,
    Decide,
    LeaveMessage,
    Open,
    PartFromMachine,
    SayWho,
)
from processors.answerer.phrase_rules import Cue, Cues, read_cues


@dataclass(slots=True, kw_only=True)
class GreetingHeard:
    """The answerer's speech and words in this round of listening."""

    speech_s: float = 0.0  # the length of all speech that has ended
    since: float | None = None  # the start of the speech in progress
    ended: float | None = None  # the end of the last speech
    words: str = ""  # from final transcripts
    interim: str = ""  # from the latest interim transcript
    cues: Cues = field(default_factory=Cues)  # in all these words

    def voiced(self, at: float) -> None:
        """Record that speech began at `at`.

        Ignored if speech is in progress already.
        """
        if self.since is None:
            self.since = at

    def silent(self, at: float) -> bool:
        """Record that speech ended at `at`, and its length; return whether any was in progress."""
        if self.since is None:
            return False
        self.speech_s += max(0.0, at - self.since)
        self.since, self.ended = None, at
        return True

    def read(self, text: str, *, final: bool) -> None:
        """Add a transcript of one utterance: all of it so far, or the final one.

        Also look for cues in all words of this round again.
        """
        if final:
            self.words, self.interim = f"{self.words} {text}".strip(), ""
        else:
            self.interim = text
        self.cues = read_cues(f"{self.words} {self.interim}")

    @property
    def person_after_all(self) -> bool:
        """Whether a person's words contradict the decision for a machine."""
        return self.cues.person > 0 and self.cues.definite is None

    def silence_s(self, rules: AnsweringRules) -> float:
        """Return the seconds of silence after which what the answerer said counts as over.

        After a machine's phrase a beep may follow; long speech may only be pausing.
        """
        if self.cues.hinted:
            return rules.machine_silence_s
        if self.speech_s > rules.human_speech_s:
            return rules.pause_s
        is_like_person = self.speech_s <= rules.hello_s or self.cues.person > 0
        return rules.human_silence_s if is_like_person else rules.pause_s

    @property
    def spoken(self) -> bool:
        """Whether there was any speech."""
        return self.ended is not None or self.since is not None

    @property
    def quiet_since(self) -> float | None:
        """When the last speech ended; `None` during speech, or before any."""
        return self.ended if self.since is None else None

    def speech_until(self, now: float) -> float:
        """Return the seconds of speech until now."""
        return self.speech_s + (0.0 if self.since is None else max(0.0, now - self.since))

    def is_recording(self, rules: AnsweringRules, now: float) -> bool:
        """Return whether the words and the length of the speech are those of a recording."""
        return self.cues.recorded and self.speech_until(now) >= rules.recording_s

    def recording_at(self, rules: AnsweringRules) -> float | None:
        """Return when the speech in progress will be as long as a recording; `None` if never."""
        if self.since is None or not self.cues.recorded:
            return None
        return self.since + max(0.0, rules.recording_s - self.speech_s)

    def forget_speech(self) -> None:
        """Reset the length of the speech; the words stay."""
        self.speech_s = 0.0

    def quiet_for(self, silence_s: float, now: float) -> bool:
        """Return whether the silence since the last speech has lasted `silence_s`."""
        since = self.quiet_since  # the same sum as in `wake_at`, so that both are rounded alike
        return since is not None and now >= since + silence_s


Actions: TypeAlias = tuple[AnsweringAction, ...]


class AnsweringState(StrEnum):
    """The states of detection."""

    RINGING = "ringing"
    LISTENING = "listening"
    PAUSING = "pausing"  # decided for a person, whose pause we wait for
    OPEN = "open"  # we talk to a person
    ASKED = "asked"  # an assistant waits for our name
    MAILBOX = "mailbox"  # we wait for the beep of a mailbox
    PARTING = "parting"  # we hang up at a machine's pause, unless a person's words come first
    OVER = "over"


class AnsweringCourse:
    """One outbound call, from the ringing to a conversation or the end of the call.

    Attributes:
        rules: The time limits.
        state: The state.
        since: When we began to talk, to wait for a beep, or to wait for a pause to hang up.
        heard: The answerer's speech and words in this round of listening.
        round_at: When the round began, or when its time limits last started again.
        decided: Who answered, as decided; `None` before a decision.
        by_words: Whether words decided for a machine, so that words can take the decision back.
        screened: Whether an assistant was told who calls.
        spoke_s: How long the answerer spoke before we began to talk.
        watched_until: Until when a conversation is watched for a machine if there is silence.
    """

    def __init__(self, rules: AnsweringRules, *, leaves_message: bool) -> None:
        self.rules = rules
        self.state = AnsweringState.RINGING
        self.since = self.round_at = 0.0
        self.heard = GreetingHeard()
        self.decided: Answerer | None = None
        self.by_words = self.screened = False
        self.spoke_s = self.watched_until = 0.0
        self._leaves_message = leaves_message
        self._full = False  # the mailbox takes no message
        self._answered_at = 0.0

    def listen(self, now: float) -> None:
        """Begin a round of listening: the call was answered, or a new speaker is expected.

        What was heard before is forgotten. The first round also starts the time that decisions
        report.
        """
        if self.state is AnsweringState.RINGING:
            self._answered_at = now
        self.state, self.round_at, self.heard = AnsweringState.LISTENING, now, GreetingHeard()

    def decide(self, answerer: Answerer, why: str, now: float) -> tuple[Decide, ...]:
        """Record who answered; return the report of it, or nothing if that was decided already."""
        if answerer is self.decided:
            return ()
        revised, self.decided = self.decided is not None, answerer
        after_s = round(now - self._answered_at, 3)
        return (Decide(answerer=answerer, why=why, after_s=after_s, revised=revised),)

    def greet(self, answerer: Answerer, why: str, now: float) -> Actions:
        """Decide for a person, and begin the conversation at once."""
        return (*self.decide(answerer, why, now), *self.open(now))

    def open(self, now: float) -> Actions:
        """Begin the conversation, and watch for a machine that talks on.

        Also record how long the answerer has spoken, and measure their speech from zero again.
        """
        self.state, self.since = AnsweringState.OPEN, now
        self.watched_until = now + self.rules.overlap_s
        self.spoke_s = self.heard.speech_until(now)
        self.heard.forget_speech()
        return (Open(),)

    def await_pause(self, why: str, now: float) -> Actions:
        """Treat an answerer who is talking as a person, and wait for the next pause."""
        self.state = AnsweringState.PAUSING
        return self.decide(Answerer.UNDECIDED, why, now)

    def take_back(self, now: float) -> Actions:
        """Take back the decision for a machine: a person speaks. Restart the time limits."""
        self.round_at = now
        return self.await_pause("words", now)

    def meet_machine(self, cue: Cue, now: float) -> Actions:
        """Note that a machine answered, and return the report of it.

        An assistant is told who calls; a mailbox gets our message after its greeting, if we have
        one; otherwise we hang up at the end of the greeting. The later steps are returned by other
        methods.
        """
        answerer = BY_CUE[cue]
        self._full = self._full or cue is Cue.FULL
        self.by_words, self.since = True, now
        if answerer is Answerer.SCREENING:
            self.state, self.round_at = AnsweringState.ASKED, now
        elif answerer is Answerer.VOICEMAIL and self._leaves_message and not self._full:
            self.state = AnsweringState.MAILBOX
        else:
            self.state = AnsweringState.PARTING
        return self.decide(answerer, "words", now)

    def say_who(self, now: float) -> Actions:
        """Tell an assistant who calls and why; then detection starts over."""
        self.screened = True
        self.listen(now)
        return (SayWho(),)

    def leave_message(self, now: float, *, at_end: bool) -> Actions:
        """Return the action that leaves a message.

        Hang up if there is none, or the mailbox is full.

        Args:
            now: Monotonic, in seconds.
            at_end: Whether the greeting has ended; if not, only wait for its end.
        """
        if self._full or not self._leaves_message:
            return self.part()
        self.state = AnsweringState.OVER if at_end else AnsweringState.MAILBOX
        self.since = now
        return (LeaveMessage(),) if at_end else ()

    def settle(self) -> None:
        """End detection: the decision is final."""
        self.state = AnsweringState.OVER

    def part(self) -> Actions:
        """End detection, and return the action that hangs up on a machine."""
        self.settle()
        return (PartFromMachine(answerer=self.decided or Answerer.VOICEMAIL),)
