"""One answer of the LLM stage: which rung continues, from where, and how long to wait.

When no rung is left, the question is kept for a while: a probe may find that a rung works again. An
answer without a word is not an outage: the rung is asked once more, then each other rung once, and
then the caller is asked to repeat. An answer with nothing that can be spoken is complete, and
silent. A request that begins late, after a slow tool or as a kept question, has its own patience:
meanwhile the caller heard only fillers, which move no deadline.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from fallbacks.attempts import (
    Abandon,
    Admitted,
    Cancel,
    Done,
    Exhausted,
    Failed,
    Finished,
    Idled,
    Lapsed,
    Progressed,
    Refused,
    Start,
    Step,
    TellFact,
    Win,
)
from fallbacks.deadline import Deadline
from fallbacks.facts import AnswerEmpty, StageExhausted
from fallbacks.failure import Failure, Kind, Scope, failed, finding
from fallbacks.work import Work
from processors.answering.continuation_rules import Answer
from processors.speaking.decision import PATIENCE_S

RECOVERS_S: Final = 10.0  # for a rung to become available; meanwhile the line is held (chosen)
RECHECK_S: Final = 0.1  # between two checks for one
MOST_PARTS: Final = 3  # continuations of one truncated answer; then it ends (chosen)
NO_ATTEMPT: Final = 0  # no attempt has this number
OF_REQUEST: Final = (Scope.PAYLOAD, Scope.REQUEST)


class Wrote(StrEnum):
    """What a complete answer consists of."""

    WORDS = "words"  # or a tool call
    PART = "part"  # truncated: the model ran out of tokens
    SIGNS = "signs"  # nothing that can be spoken, such as an emoji
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWrote:
    """A model streamed content that the caller waits for."""

    attempt: int
    text: str  # empty: a piece of a tool call


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFinished:
    """A model reports that its answer is complete, and it is."""

    attempt: int
    wrote: Wrote = Wrote.WORDS
    text: str = ""  # text that only the end shows to be words


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed:
    """A model has definitely failed."""

    attempt: int
    failure: Failure


ModelEvent: TypeAlias = ModelWrote | ModelFinished | ModelFailed | Admitted | Refused
"""The events that `Answering` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskModel:
    """Ask a rung to answer, or to continue what was already said."""

    provider: str
    attempt: int
    said: str  # empty: it gets the same request as the first
    mended: bool  # with a shortened context
    wait_until: Deadline | None  # for a place at the rung's gate; `None` if it has none
    leave_out: bool = False  # from now on, the caller's last message, which every rung refused


@dataclass(frozen=True, slots=True, kw_only=True)
class UseModel:
    """This rung writes from now on; empty if none does."""

    provider: str
    taken_back: int  # characters of an incomplete word that was passed on


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteText:
    """Pass on new words of the answer."""

    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class FinishAnswer:
    """Pass on what follows the words: tool calls, usage."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CallOff:
    """End a request."""

    attempt: int
    outrun: bool = False  # it lost a race, without being late: it was working on the answer


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No rung can answer."""

    attempts: int


AnswerAction: TypeAlias = (
    TellFact | AskModel | UseModel | WriteText | FinishAnswer | CallOff | GiveUp
)
"""The actions of `Answering`."""


class Answering:
    """One answer, whichever rungs write it.

        answering = Answering(begin_work, until=turn.patient_until)
        actions = answering.start(now)
        actions = answering.handle(ModelWrote(attempt=1, text="We open "), now)
        actions = answering.tick(now)  # at `wake_at`

    Attributes:
        work: The rungs asked.
        answer: The words passed on so far.
    """

    def __init__(
        self,
        begin_work: Callable[[], Work],
        *,
        until: Callable[[float], Deadline],
        recovers_s: float = RECOVERS_S,
        leaves_out: bool = False,
        answer: Answer | None = None,
    ) -> None:
        """Prepare.

        Args:
            begin_work: Starts a new request on the ladder.
            until: Returns when even a late answer is given up.
            recovers_s: How long the question is kept when no rung is left.
            leaves_out: Whether the models are asked once more without the caller's last message
                when every one has refused it: that is not an outage.
            answer: Gets the words; `None` for the usual limits.
        """
        self.work = begin_work()
        self._begin_work = begin_work
        self._turn_until = self._until = until
        self._recovers_s = recovers_s
        self.answer = answer or Answer()
        self._passing = False  # at least one failure was transient
        self._leaves_out = leaves_out
        self._leaving_out = False  # from the next request on
        self._refused = True  # every failure so far may be due to the content
        self._asked: dict[int, str] = {}  # the rung of each attempt
        self._wordless = 0  # the number of empty answers
        self._parts = 0  # the number of answers truncated inside a sentence
        self._tired_at: float | None = None
        self._recheck_at: float | None = None  # no rung is left, and the question is kept

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.work.over and self._recheck_at is None

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return self.work.wake_at if self._recheck_at is None else self._recheck_at

    def start(self, now: float) -> tuple[AnswerAction, ...]:
        """Ask the first rung."""
        self._until = _no_sooner_than(now + PATIENCE_S, self._turn_until)
        return self._carry_out(self.work.start(self._until(now), now), now)

    def handle(self, event: ModelEvent, now: float) -> tuple[AnswerAction, ...]:
        """Decide on an event."""
        self.work.move(self._until(now))
        match event:
            case ModelWrote():
                progressed = Progressed(attempt=event.attempt)
                actions = self._carry_out(self.work.handle(progressed, now), now)
                text = self.answer.write(event.attempt, event.text) if event.text else ""
                if not self.answer.limit.reason:
                    return (*actions, *_write(event.attempt, text))
                ended = self._carry_out(self.work.handle(Finished(attempt=event.attempt), now), now)
                return (*actions, *_write(event.attempt, text), *map(_called_off, ended))
            case ModelFinished():
                return self._finish(event, now)
            case ModelFailed():
                return self._fail(event, now)
            case Admitted() | Refused():
                return self._carry_out(self.work.handle(event, now), now)

    def tick(self, now: float) -> tuple[AnswerAction, ...]:
        """Do what is due by now."""
        if self._recheck_at is None:
            self.work.move(self._until(now))
            return self._carry_out(self.work.tick(now), now)
        if now < self._recheck_at:
            return ()
        if self.work.policy.trusted(now):
            self._recheck_at = None
            self.work = self._begin_work()
            return self.start(now)
        return self._keep_question(now)

    def cancel(self, now: float) -> tuple[AnswerAction, ...]:
        """Cancel everything: the caller spoke, or hung up."""
        self._recheck_at = None
        return self._carry_out(self.work.cancel("caller", now), now)

    def _finish(self, event: ModelFinished, now: float) -> tuple[AnswerAction, ...]:
        """End the answer; a continuation after a complete sentence may have nothing to add."""
        attempt = event.attempt
        if event.text:
            last = self.handle(ModelWrote(attempt=attempt, text=event.text), now)
            return (*last, *self._finish(replace(event, text=""), now))
        if event.wrote is Wrote.NOTHING and not self.answer.may_be_whole(attempt):
            nothing = _said_nothing(self.work.policy.stage, self._asked[attempt], self._wordless)
            self._wordless, self._refused = self._wordless + 1, False
            return (
                CallOff(attempt),
                *self._fail(ModelFailed(attempt=attempt, failure=nothing), now),
            )
        cut = event.wrote is Wrote.PART and not self.answer.at_sentence_end
        if cut and self._parts < MOST_PARTS:
            self._parts += 1
            again = self._carry_out(self.work.handle(Lapsed(attempt=attempt), now), now)
            return (CallOff(attempt), *again)
        begun: tuple[AnswerAction, ...] = ()
        if event.wrote in (Wrote.SIGNS, Wrote.NOTHING) or self.answer.may_be_whole(attempt):
            begun = self._carry_out(self.work.handle(Progressed(attempt=attempt), now), now)
        if event.wrote is Wrote.SIGNS and not self.answer.said:
            begun = (*begun, _empty(self.work, asks_again=False))
        rest = self.answer.finish(attempt)
        steps = self.work.handle(Finished(attempt=attempt), now)
        return (*begun, *self._carry_out(steps, now, rest=rest))

    def _fail(self, event: ModelFailed, now: float) -> tuple[AnswerAction, ...]:
        self._passing |= not event.failure.permanent
        self._refused &= event.failure.scope in OF_REQUEST
        heard_words = len(self.answer.said.split())
        entered = Failed(attempt=event.attempt, failure=event.failure, heard_words=heard_words)
        steps = self.work.handle(entered, now)
        refused = self._refused and self._leaves_out and not self.answer.whole
        if not refused or not any(isinstance(step, Exhausted) for step in steps):
            return self._carry_out(steps, now)
        self._leaves_out, self._leaving_out = False, True
        told = (step for step in steps if isinstance(step, TellFact))
        failures = [step for step in told if not isinstance(step.fact, StageExhausted)]
        self.work = self._begin_work()
        return (*failures, *self.start(now))

    def _carry_out(
        self, steps: tuple[Step, ...], now: float, *, rest: str = ""
    ) -> tuple[AnswerAction, ...]:
        actions: list[AnswerAction] = []
        for step in steps:
            match step:
                case TellFact():
                    empty = self._wordless > 0 and isinstance(step.fact, StageExhausted)
                    actions.append(_empty(self.work, asks_again=True) if empty else step)
                case Start():
                    actions.append(self._ask(step, now))
                case Win():
                    self.answer.begin(step.attempt)
                    taken_back = self.answer.taken_back
                    actions.append(UseModel(provider=step.provider, taken_back=taken_back))
                case Done():
                    actions += [*_write(step.attempt, rest), FinishAnswer(step.attempt)]
                case Cancel() | Abandon():
                    self._passing |= isinstance(step, Abandon)
                    self._refused &= isinstance(step, Cancel)
                    outrun = isinstance(step, Cancel) and step.because == "outrun"
                    actions.append(CallOff(step.attempt, outrun=outrun))
                case Exhausted():
                    self.answer.begin(NO_ATTEMPT)
                    actions.append(UseModel(provider="", taken_back=self.answer.taken_back))
                    actions += self._keep_question(now)
        return tuple(actions)

    def _ask(self, start: Start, now: float) -> AskModel:
        leave_out, self._leaving_out = self._leaving_out, False
        wait_until: Deadline | None = None
        self._asked[start.attempt] = start.provider
        if start.provider in self.work.policy.gates:
            self.work.handle(Idled(attempt=start.attempt), now)  # until it is admitted
            wait_until = self.work.may_wait_until(self._until(now), now)
        return AskModel(
            provider=start.provider,
            attempt=start.attempt,
            said=self.answer.whole,
            mended=start.mended and not self._wordless,
            leave_out=leave_out,
            wait_until=wait_until,
        )

    def _keep_question(self, now: float) -> tuple[GiveUp, ...]:
        """Wait for a rung to become available, unless that takes too long or cannot happen."""
        if self._wordless:
            return ()  # the caller is asked to repeat
        self._tired_at = now + self._recovers_s if self._tired_at is None else self._tired_at
        hopeless = self.work.attempts > 0 and not self._passing
        if hopeless or now >= self._tired_at:
            self._recheck_at = None
            return (GiveUp(self.work.attempts),)
        self._recheck_at = now + RECHECK_S
        return ()


def _no_sooner_than(
    at: float, turn_until: Callable[[float], Deadline]
) -> Callable[[float], Deadline]:
    """Return when a late answer is given up: by the turn's deadline, or `at` if that is later."""
    return lambda now: turn_until(now).no_sooner_than(at)


def _said_nothing(stage: str, provider: str, before: int) -> Failure:
    """Return the failure of an empty answer; only the first rung is asked once more."""
    return failed(
        finding(Kind.SILENT, Scope.PAYLOAD),
        stage,
        provider=provider,
        reason="an answer without a word",
        same_rung=before == 0,
    )


def _empty(work: Work, *, asks_again: bool) -> TellFact:
    fact = AnswerEmpty(stage=work.policy.stage, attempts=work.attempts, asks_again=asks_again)
    return TellFact(fact)


def _write(attempt: int, text: str) -> tuple[WriteText, ...]:
    return (WriteText(attempt=attempt, text=text),) if text else ()


def _called_off(action: AnswerAction) -> AnswerAction:
    """Turn the end of an answer into the end of its request: the answer is long enough."""
    return CallOff(action.attempt) if isinstance(action, FinishAnswer) else action
