"""Decides who speaks next when nobody speaks: what a call says and does unasked.

Of the rules that are due, the first one in this order acts. The others are asked again afterwards:
most count from the end of the audio on the line, so they then wait.

1. `CallLength`: a goodbye, because the call has reached its maximum length.
2. `Announcements`: a stage has no rung left; this is the first step of the outage menu.
3. `OutageMenu`: its next step, the end of a message, or the end of the call.
4. `Holding`: a filler or a sentence, because an answer is late; not while the menu leads the call.
5. `HoldRhythm`: tones and phrases for a caller who waits for a person.
6. The late result of a tool: the model is asked about it.
7. `Silence`: a prompt to a silent caller, or a goodbye; not in an outage, which has its menu.

After a goodbye that cannot be interrupted, only the menu acts: it may store a message and hang up.
`PendingAnswer` tells `Holding` whether an answer is pending.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final, TypeAlias

from calls.events import CallerStarted, CallerStopped, TurnDecided
from fallbacks.events import (
    AnswerEmpty,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    EarlyAnswerTaken,
    PauseJudged,
    StageExhausted,
)
from fallbacks.llm_times import FIRST_WORD_S, SENTENCE_S
from fallbacks.tts_times import FIRST_AUDIO_S, PACE
from processors.holding.hold_rhythm_rules import HoldRhythm
from processors.holding.late_answer_rules import Holding, Say
from processors.holding.line_rules import (
    DeliverResults,
    HangUp,
    KeepMessage,
    LineAction,
    LineEvent,
    SpeakFor,
    Spoken,
    Then,
    earliest,
)
from processors.holding.outage_rules import OutageMenu, OutageSettings
from processors.holding.pending_answer_rules import Announcements, PendingAnswer
from processors.holding.silence_rules import CallLength, Silence
from processors.holding.utterance_rules import Situation
from processors.turn.floor import AwayChanged, Floor, KeyGiven, WordsCame

USUALLY_S: Final = {"llm": FIRST_WORD_S + SENTENCE_S + FIRST_AUDIO_S, "tts": FIRST_AUDIO_S}
"""Usual time from a rung's start to the first audio of the answer, by stage."""
THEN_S: Final = {"llm": SENTENCE_S + FIRST_AUDIO_S, "tts": 0.0}
"""Usual time from a rung's first output to the first audio of the answer, by stage."""
RESULT_QUIET_S: Final = 0.5  # of silence on both sides before a late result is delivered (chosen)
HELD_WITH: Final = {
    Say.FILLER: (Situation.FILLER,),
    Say.CLIP: (Situation.LLM, Situation.DOWN),
}
AFTER_GOODBYE: Final = (CallerStarted, CallerStopped, Spoken)
"""Events that are handled even after a final goodbye: a message may be in progress, and the call
hangs up when the goodbye was spoken."""

Actions: TypeAlias = tuple[LineAction, ...]
Rule: TypeAlias = tuple[float | None, Callable[[float], Actions]]
"""The moment at which a rule is due, or `None`, and its action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRules:
    """What decides what a call says unasked.

    Attributes:
        holding: What to say when an answer is late.
        outage: The settings of the outage menu.
        silence: What to say to a silent caller; `None` for nothing.
        length: When a call that is too long ends; `None` if none does.
    """

    holding: Holding = field(default_factory=Holding)
    outage: OutageSettings = field(default_factory=OutageSettings)
    silence: Silence | None = None
    length: CallLength | None = None


class HoldDecision:
    """Decides for one call: takes events and returns actions; reads no clock.

        decision = HoldDecision(HoldRules(), floor)
        decision.handle(CallerStopped(at_s=100.0, noticed_at_s=100.2), 100.2)
        decision.tick(decision.wake_at)  # (SpeakFor(situations=(FILLER,), ...),)

    Attributes:
        answer: Whether an answer is pending.
        outage: What is said and done while a stage is down.
        rhythm: What a caller hears who waits for a person.
        result_since: Since when a late tool result waits for a silence; `None` if none does.
    """

    def __init__(
        self, rules: HoldRules, floor: Floor, *, word_until: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Create the decision for one call.

        Args:
            rules: What it consists of.
            floor: The call's floor.
            word_until: Returns until when the caller's last words may turn out to be a choice from
                the menu.
        """
        self._holding = holding = rules.holding
        self._floor = floor
        self._announcements = Announcements(
            floor, pause_s=holding.settings.first_s, word_until=word_until
        )
        self.answer = PendingAnswer(holding, floor, self._announcements)
        self.outage = OutageMenu(floor, rules.outage)
        self.rhythm = HoldRhythm(floor)
        never = Silence(floor, prompt_after_s=inf, prompts=(), goodbye="")
        self._silence = rules.silence or never
        self._length = rules.length or CallLength(max_call_s=inf, words="")
        self.result_since: float | None = None

    @property
    def holding(self) -> bool:
        """Whether something was said in place of a pending answer."""
        return self._holding.held and not self._floor.parting

    @property
    def awaits_answer(self) -> bool:
        """Whether an answer is pending; if it is late, the line is held."""
        return self._holding.pending_since is not None and not self._floor.parting

    @property
    def led(self) -> bool:
        """Whether the outage menu or a person speaks with the caller."""
        return self.outage.is_paused or self.outage.in_charge

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self._floor.parting:
            return self.outage.wake_at
        return earliest(*(at for at, _ in self._rules_in_order))

    def picked_up(self, now: float) -> None:
        """Record that the other party has picked up: the call and the caller's time begin."""
        self._length.start(now)
        self._silence.start(now)

    def handle(self, event: LineEvent, now: float) -> Actions:
        """Record an event, and return the actions for it.

        After a final goodbye, only events of `AFTER_GOODBYE` count. Most speech is decided by
        `tick`.
        """
        if self._floor.parting:
            return self.outage.handle(event, now) if isinstance(event, AFTER_GOODBYE) else ()
        self._note_sign(event, now)
        match event:
            case StageExhausted() | AttemptFailed() | AttemptStarted():
                _update_expectations(
                    event, now, holding=self._holding, announcements=self._announcements
                )
                return ()  # an outage is announced later, by `tick`
            case AttemptWon():
                return self._note_won(event, now)
            case KeyGiven(owner="menu"):
                return self.outage.press(event.key, now)
            case EarlyAnswerTaken():
                self._holding.taken(now + FIRST_AUDIO_S, calls_tool=event.calls_tool)
            case Spoken(dry_at=float(at)) if event.action.then is Then.HOLD or self._holding.held:
                self._holding.said(at)  # silence is measured from then on
            case _:
                self._note_turn(event, now)
        return self.outage.handle(event, now)

    def sounded(self, dry_at: float, now: float, *, audible: bool = True) -> None:
        """Record audio of the answer on the line; see `PendingAnswer.sounded`."""
        if not self._floor.parting:
            self.answer.sounded(dry_at, now, audible=audible)
            self.outage.quiet_since = dry_at

    def take_rest(self, dry_at: float | None, now: float) -> None:
        """Record that the local voice takes over words that no provider's voice could say.

        A report that no voice is left is then not announced.

        Args:
            dry_at: When the audio on the line ends, including these words; `None` if they are not
                rendered yet.
            now: Monotonic, in seconds.
        """
        self._announcements.drop("tts")
        if dry_at is not None and not self._floor.parting:  # the words count as the answer
            self.answer.sounded(dry_at, now)

    def tick(self, now: float) -> Actions:
        """Return the actions of the first rule that is due by now; others may be due after it."""
        if self._floor.parting:
            due = self.outage.tick(now)
            return tuple(item for item in due if isinstance(item, HangUp | KeepMessage))
        for at, act in self._rules_in_order:
            if at is not None and now >= at and (actions := act(now)):
                return actions
        return ()

    @property
    def _rules_in_order(self) -> tuple[Rule, ...]:
        """The rules in their order; see above."""
        away, outage = bool(self._floor.away), self.outage
        return (
            (None if away else self._length.wake_at, self._length.tick),
            (self._announcements.wake_at, self._announce_outage),
            (outage.wake_at, outage.tick),
            (None if outage.in_charge else self._holding.wake_at, self._hold_the_line),
            (self.rhythm.wake_at, self.rhythm.tick),
            (self._result_at, self._deliver_results),
            (None if away or outage.step else self._silence.wake_at, self._silence.tick),
        )

    @property
    def _result_at(self) -> float | None:
        """When to deliver a late tool result, or `None`: neither side speaks, or is about to."""
        if self.result_since is None or self.awaits_answer or self.led:
            return None
        return max(self._floor.quiet_since, self.result_since) + RESULT_QUIET_S

    def _announce_outage(self, now: float) -> Actions:
        """Let the outage menu speak about the stage that is due, in place of the answer.

        Empty if no stage is due. The answer is no longer awaited then.
        """
        stage = self._announcements.due(now)
        if stage is None:
            return ()
        self._holding.answered()
        found = StageExhausted(stage=stage, attempts=0)
        return self.outage.handle(found, now)

    def _hold_the_line(self, now: float) -> Actions:
        """Return the fillers or clips that are due because the answer is late."""
        says = self._holding.tick(now)
        return tuple(SpeakFor(situations=HELD_WITH[say], then=Then.HOLD) for say in says)

    def _deliver_results(self, _: float) -> Actions:
        """Return the action that gives the model late results of tools, and stop waiting for it."""
        self.result_since = None
        return (DeliverResults(),)

    def _note_sign(self, event: LineEvent, now: float) -> None:
        """Restart a silent caller's time after a sign of life or a transfer."""
        match event:
            case CallerStarted():
                self._silence.sound_began(event.at_s)
            case WordsCame() | KeyGiven():
                self._silence.caller_spoke(now)
            case AwayChanged():
                self._silence.restart(now)
            case _:
                pass

    def _note_won(self, event: AttemptWon, now: float) -> Actions:
        """Update when the answer is expected; when a stage is back, hold the line again.

        The outage menu then no longer prevents silence, and the rung may be slow, or fail before
        its first sentence.
        """
        if event.stage in THEN_S:
            self._holding.expected(now + THEN_S[event.stage])
        if event.stage == "stt":
            self._announcements.drop("stt")  # the rung gets the utterance again, from its start
        was_down = self.outage.in_charge
        actions = self.outage.handle(event, now)
        if was_down and not self.outage.in_charge:
            since = None if self._floor.caller_speaking else self.outage.quiet_since
            # The outage menu allows longer silences. If this one is too long for `Holding`, wait
            # for the usual time of an answer before speaking.
            shifted_since = now + USUALLY_S["llm"] - self._holding.settings.silence_s
            self._holding.answered(pending_from=now if since is None else max(since, shifted_since))
            if event.stage == "stt" and not self._floor.worded:
                self._holding.paused()  # the caller was asked to repeat, but may not do so
        return actions

    def _note_turn(self, event: LineEvent, now: float) -> None:
        """Record an event of the caller's turn, and whether an answer to it is pending."""
        match event:
            case CallerStarted():
                self._announcements.caller_started()
                self.answer.caller_started()
            case CallerStopped():
                self.answer.caller_stopped(event.at_s)
            case PauseJudged():
                self.answer.finished = event.finished
                self.answer.judge_again(now)
            case WordsCame():
                self.answer.judge_again(now)
            case TurnDecided():
                self.answer.turn_decided(now)
            case AnswerEmpty():
                self.answer.nothing_said(now)
            case _:
                pass


def _update_expectations(
    event: StageExhausted | AttemptFailed | AttemptStarted,
    now: float,
    *,
    holding: Holding,
    announcements: Announcements,
) -> None:
    """Update what is expected, after a stage or a rung has failed, or a rung was asked."""
    match event:
        case StageExhausted():
            announcements.exhausted(event.stage, now)
        case AttemptFailed(attempt=0):
            pass  # such as a lost standby: no words of the caller's were expected of it
        case AttemptFailed(stage="stt") | AttemptStarted(stage="stt", extra=True):
            announcements.deaf = True
            holding.decided(now)  # the end of the turn may go unnoticed: assume that it is over
        case AttemptStarted() if event.stage in USUALLY_S:
            at = now + USUALLY_S[event.stage]
            next_is_asked = event.stage == "tts" and not event.extra  # if this voice is late
            holding.expected(at, else_at=at + PACE.late_min_s if next_is_asked else None)
        case _:
            pass
