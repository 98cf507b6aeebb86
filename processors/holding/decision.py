"""Decides when to speak on a caller's line in place of an answer, and what to do in an outage.

Combines `Holding` (the answer is late), `PendingAnswer` (whether an answer is pending), `StageNews`
(when to announce that a stage has no rung left) and `OutageMenu` (what is said and done then).
While the outage menu is active, late answers are not announced separately.
"""

from typing import Final, TypeAlias

from calls.events import CallerStarted, CallerStopped
from fallbacks.facts import (
    AnswerEmpty,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    EarlyAnswerTaken,
    PauseJudged,
    StageExhausted,
)
from processors.holding.late_answer_rules import Holding, Say
from processors.holding.line_rules import (
    AnswerEvent,
    CallerAway,
    HangUp,
    HearWords,
    KeepMessage,
    LastWords,
    LineAction,
    LineEvent,
    MenuWordPending,
    MessageBegan,
    NothingSaid,
    RestTaken,
    SpeakFor,
    Spoken,
    Then,
)
from processors.holding.outage_rules import OutageMenu, OutageSettings
from processors.holding.pending_answer_rules import PendingAnswer, StageNews
from processors.holding.utterance_rules import Situation
from processors.turn.floor import Floor, WordsCame

MODEL_S: Final = 0.37  # usual time from a question to the model's first word
SENTENCE_S: Final = 0.09  # from there to the end of the first sentence
VOICE_S: Final = 0.13  # from a sentence to its first audio
PATIENCE_S: Final = 0.35  # with a voice, before another is asked for the same words
USUALLY_S: Final = {"llm": MODEL_S + SENTENCE_S + VOICE_S, "tts": VOICE_S}
HELD_WITH: Final = {
    Say.FILLER: (Situation.FILLER,),
    Say.CLIP: (Situation.LLM, Situation.DOWN),
}
BESIDE_GOODBYE: Final = (CallerStarted, CallerStopped, MessageBegan, Spoken)
"""Events that still count after a final goodbye: a message that is left, a hang-up."""

Actions: TypeAlias = tuple[LineAction, ...]


class HoldDecision:
    """Decides for one call; events in, actions out, without a clock.

    decision = HoldDecision(Holding(), floor)
    decision.handle(CallerStopped(at_s=100.0, noticed_at_s=100.2), 100.2)
    decision.tick(decision.wake_at)  # (SpeakFor(situations=(FILLER,), ...),)
    """

    def __init__(
        self, holding: Holding, floor: Floor, outage: OutageSettings | None = None
    ) -> None:
        self._holding = holding
        self._floor = floor
        self._answer = PendingAnswer(holding, floor)
        self._news = StageNews(floor, pause_s=holding.settings.first_s)
        self._away = self._parting = False
        self.outage = OutageMenu(floor, outage)

    @property
    def holding(self) -> bool:
        """Whether something was said in place of a pending answer."""
        return self._holding.held

    @property
    def awaits_answer(self) -> bool:
        """Whether the line is held for an answer, or will be."""
        return self._holding.pending_since is not None

    @property
    def led(self) -> bool:
        """Whether the outage menu or a person speaks with the caller."""
        return self._away or self.outage.in_charge

    @property
    def listens(self) -> bool:
        """Whether the caller's words may be a choice from the menu."""
        return self.outage.listens

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self._parting:
            return self.outage.wake_at
        held_at = None if self.outage.in_charge else self._holding.wake_at
        moments = (held_at, self.outage.wake_at, self._news.wake_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def handle(self, event: LineEvent, now: float) -> Actions:
        """Return the actions for an event."""
        self._parting = self._parting or isinstance(event, LastWords)
        if not self._parting:
            return self._decide(event, now)
        self._holding.expect_nothing()
        return self.outage.handle(event, now) if isinstance(event, BESIDE_GOODBYE) else ()

    def _decide(self, event: LineEvent, now: float) -> Actions:
        match event:
            case StageExhausted():
                self._news.exhausted(event.stage, now)
                return ()  # it is announced later, by `tick`
            case AttemptFailed() | AttemptStarted():
                _expect(event, now, holding=self._holding, news=self._news)
                return ()
            case PauseJudged() | WordsCame():
                self._answer.handle(event, now, deaf=self._news.deaf)
                return ()
            case AttemptWon():
                return self._note_won(event, now)
            case EarlyAnswerTaken():
                self._holding.taken(now + VOICE_S, calls_tool=event.calls_tool)
            case Spoken(dry_at=float(at)) if event.action.then is Then.HOLD or self._holding.held:
                self._holding.said(at)  # silence counts from there
            case _:
                self._note(event, now)
        return self.outage.handle(event, now)

    def tick(self, now: float) -> Actions:
        """Return the actions that are due by now."""
        if self._parting:
            due = self.outage.tick(now)
            return tuple(item for item in due if isinstance(item, HangUp | KeepMessage))
        actions: list[LineAction] = []
        stage = self._news.due(now)
        if stage is not None:
            self._holding.answered()
            found = StageExhausted(stage=stage, attempts=0)
            actions += [HearWords(), *self.outage.handle(found, now)]
        actions += self.outage.tick(now)
        says = () if self.outage.in_charge else self._holding.tick(now)
        actions += [SpeakFor(situations=HELD_WITH[say], then=Then.HOLD) for say in says]
        return tuple(actions)

    def _note_won(self, event: AttemptWon, now: float) -> Actions:
        """Hold the line again when a stage is back, until the answer is heard.

        The outage menu no longer watches it, and the rung may be slow, or die before its first
        sentence.
        """
        if event.stage == "llm":
            self._holding.expected(now + SENTENCE_S + VOICE_S)
        if event.stage == "stt":
            self._news.drop("stt")  # the rung hears the utterance again, from its start
        was_down = self.outage.in_charge
        actions = self.outage.handle(event, now)
        if was_down and not self.outage.in_charge:
            since = None if self._floor.caller_speaking else self.outage.quiet_since
            # The outage menu leaves longer silences; an answer about to come is not talked over.
            at_hand = now + USUALLY_S["llm"] - self._holding.settings.silence_s
            self._holding.answered(pending_from=now if since is None else max(since, at_hand))
            if event.stage == "stt" and not self._floor.worded:
                self._holding.paused()  # the caller was asked to repeat, and may not do so
        return actions

    def _note(self, event: LineEvent, now: float) -> None:
        match event:
            case CallerStarted():
                self._news.caller_started()
            case CallerAway():
                self._away = event.away
            case RestTaken():
                self._news.drop("tts")
            case MenuWordPending():
                self._news.wait_for_word(event.until)
            case AnswerEmpty():
                self._answer.handle(NothingSaid(), now, deaf=self._news.deaf)
            case _:
                pass
        if isinstance(event, AnswerEvent):
            self._answer.handle(event, now, deaf=self._news.deaf)


def _expect(
    event: AttemptFailed | AttemptStarted, now: float, *, holding: Holding, news: StageNews
) -> None:
    """Update when the answer is expected, from the rung that is asked for it."""
    failed = isinstance(event, AttemptFailed)
    if event.stage == "stt" and (failed or event.extra):
        news.deaf = True
        holding.decided(now)
    elif not failed and event.stage in USUALLY_S:
        at = now + USUALLY_S[event.stage]
        followed = event.stage == "tts" and not event.extra
        holding.expected(at, else_at=at + PATIENCE_S if followed else None)
