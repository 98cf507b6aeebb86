"""One answer of the LLM stage: which rung writes it, which one continues, and how long to wait.

- When no rung is left, the question is kept for a while, because a probe may find that a rung works
  again.
- An empty answer is not an outage: the rung is asked once more, then each other rung once, then
  each without the newest turns, which models may block in silence, and then the caller is asked to
  repeat.
- A request that fails alike at every rung, while no other call's request and no probe fails, is
  asked once more without the newest turns, too: they may be the cause, whatever the failure. Of
  several rungs, some may only have been late: their errors may be slow. A rung alone must also have
  succeeded meanwhile, for another call or a probe, and then have failed again.
- An answer without words, such as an emoji, is complete, but silent.
- A request that begins late, after a slow tool or as a kept question, gets a deadline of its own,
  because fillers, which are all that the caller has heard so far, do not move the turn's deadline.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    Done,
    Dropped,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Progressed,
    Resumed,
    Stop,
    Use,
)
from fallbacks.attempts import Attempting
from fallbacks.deadline import Deadline
from fallbacks.events import AnswerEmpty, StageExhausted
from fallbacks.failure import ANSWERED, OF_REQUEST, Failure, Kind, Scope, failed, finding
from fallbacks.llm_times import RUNG_CHECK_S, RUNG_WAIT_S
from fallbacks.tts_times import NEXT_VOICE_S
from processors.answering.continuation_rules import Answer

MAX_PARTS: Final = 3  # continuations of one truncated answer; then it ends (chosen)
NO_ATTEMPT: Final = 0  # no attempt has this number


class Wrote(StrEnum):
    """What an answer consists of when its stream ends."""

    WORDS = "words"  # or a tool call
    PART = "part"  # it is truncated, such as when the model ran out of tokens
    SIGNS = "signs"  # only characters that are not spoken, such as an emoji
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class LeaveMessageOut:
    """Leave messages out of the next requests, because every rung refused them."""

    step: int = 1  # each step leaves out more; 0 for the whole conversation again


@dataclass(frozen=True, slots=True, kw_only=True)
class UseModel:
    """Another rung writes from now on."""

    provider: str  # empty if none is left
    taken_back: int  # characters of an incomplete word, which was passed on, that are taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteText:
    """Pass on new words of the answer, after taking back earlier ones that were no speech."""

    attempt: int
    text: str
    taken_back: int = 0  # characters


AnswerAction: TypeAlias = (
    EmitEvent | Ask | LeaveMessageOut | UseModel | WriteText | Stop | Done | Exhausted
)
"""The actions of `Answering`.

`Ask`: the rung must continue `Answer.whole`; if that is empty, it gets the first rung's request.
`Done`: pass on the chunks after the words, such as tool calls and usage. `Exhausted`: give up.
"""


class Answering:
    """Decides on one answer, whichever rungs write it.

        answering = Answering(begin, until=turn.patient_until)
        actions = answering.start(now)
        actions = answering.write(1, "We open ", now)
        actions = answering.tick(now)  # at `wake_at`

    Attributes:
        attempting: The current request on the ladder.
        answer: The words passed on so far.
        leaves_out: How often the rungs that refused the request's content are asked once more, each
            time with less of it: a refusal is not an outage.
    """

    def __init__(
        self,
        begin: Callable[[], Attempting],
        *,
        until: Callable[[float], Deadline],
        recovers_s: float = RUNG_WAIT_S,
        leaves_out: int = 0,
        refused: bool = False,
        answer: Answer | None = None,
    ) -> None:
        """Create the decision for one answer; `start` asks the first rung.

        Args:
            begin: Makes a new request on the ladder.
            until: Returns when even a late answer is given up.
            recovers_s: How long the question is kept when no rung is left.
            leaves_out: The attribute's first value.
            refused: Whether every rung has already refused this request.
            answer: Collects the words; `None` for one with the default limits.
        """
        self.attempting = begin()
        self._begin = begin
        self._turn_until = self._until = until
        self._recovers_s = recovers_s
        self.answer = answer or Answer()
        self._transient = False  # at least one failure was transient
        self.leaves_out = int(leaves_out)
        self._step = int(refused)  # how much is left out
        self._refusers: set[str] = set()  # rungs that refused the content of the current request
        self._all_refused = True  # every failure so far is such a refusal
        self._suspects: set[str] = set()  # rungs whose answers were errors that content may cause
        self._all_answered = True  # every failure so far is such an error, or a refusal
        self._late: set[str] = set()  # rungs that were given up because they were late
        self._asked_anew = False  # the whole request was made once more
        self._asked: dict[int, str] = {}  # the rung of each attempt
        self._wordless = 0  # the number of empty answers
        self._parts = 0  # the number of answers truncated inside a sentence
        self._give_up_at: float | None = None  # when the kept question is dropped
        self._started_at = math.inf
        self._recheck_at: float | None = None  # set while no rung is left and the question is kept

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.attempting.over and self._recheck_at is None

    @property
    def refused(self) -> bool:
        """Whether every rung that was asked refused the request, or failed as if it were to blame.

        The latter counts if there are several, even if some were only late, or if another request
        or a probe has succeeded meanwhile; but not if one has failed, or if a rung wrote words.
        """
        if self.surely_refused:
            return True
        if not (self._suspects and self._all_answered) or self.answer.whole:
            return False
        policy, since, rungs = self.attempting.policy, self._started_at, self._suspects
        judged = len(rungs | self._late) > 1 or policy.has_served_since(since, rungs)
        return judged and not policy.has_failed_since(since)

    @property
    def surely_refused(self) -> bool:
        """Whether every rung that was asked refused the request's content."""
        return bool(self._refusers) and self._all_refused

    @property
    def accepted(self) -> bool:
        """Whether a rung has accepted the request: it writes, or has finished."""
        return self.attempting.winner is not None

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return self.attempting.wake_at if self._recheck_at is None else self._recheck_at

    def start(self, now: float) -> tuple[AnswerAction, ...]:
        """Ask the first rung.

        The answer may take `NEXT_VOICE_S` even if the turn's deadline is sooner. If every rung has
        refused the request before, part of it is left out.
        """
        self._started_at = min(self._started_at, now)
        self._until = _no_sooner_than(now + NEXT_VOICE_S, self._turn_until)
        self._step = min(self._step, self.leaves_out)
        less = (LeaveMessageOut(step=self._step),) if self._step else ()
        return (*less, *self._carry_out(self.attempting.start(self._until(now), now), now))

    def write(self, attempt: int, text: str, now: float) -> tuple[AnswerAction, ...]:
        """Return the actions for an attempt's content.

        Empty text stands for a piece of a tool call. Text that exceeds a limit of the answer ends
        it after the last word within the limit.
        """
        self.attempting.until = self._until(now)
        progressed = Progressed(attempt=attempt)
        actions = self._carry_out(self.attempting.handle(progressed, now), now)
        text = self.answer.write(attempt, text) if text else ""
        if not self.answer.limit.reason:
            return (*actions, *_text_action(self.answer, attempt, text))
        finished = self.attempting.handle(Finished(attempt=attempt), now)
        ended = map(_without_end, self._carry_out(finished, now))
        return (*actions, *_text_action(self.answer, attempt, text), *ended)

    def finish(
        self, attempt: int, now: float, *, wrote: Wrote = Wrote.WORDS, text: str = ""
    ) -> tuple[AnswerAction, ...]:
        """Decide what follows the end of an attempt's stream, and return the actions.

        The end of the stream completes the answer, unless it is empty, or truncated inside a
        sentence or a written tool call. A continuation after a complete sentence may be empty.

        Args:
            attempt: The attempt's number.
            now: Monotonic, in seconds.
            wrote: What the attempt has written.
            text: Text that only the end shows to be speech.
        """
        if text:
            last = self.write(attempt, text, now)
            return (*last, *self.finish(attempt, now, wrote=wrote))
        self.attempting.until = self._until(now)
        ended = Stop(attempt=attempt, provider=self._asked[attempt], because="text")
        if wrote is Wrote.NOTHING and not self.answer.may_be_whole(attempt):
            stage = self.attempting.policy.stage
            failure = _empty_failure(stage, self._asked[attempt], self._wordless)
            self._wordless += 1
            return (ended, *self._note_failure(Failed(attempt=attempt, failure=failure), now))
        is_cut = wrote is Wrote.PART and (self.answer.cut_off or not self.answer.at_sentence_end)
        if is_cut and self._parts < MAX_PARTS:
            self._parts += 1
            dropped = Dropped(attempt=attempt, because="length")
            withdrawn = _text_action(self.answer, attempt, "")
            return (*withdrawn, ended, *self._carry_out(self.attempting.handle(dropped, now), now))
        begun: tuple[AnswerAction, ...] = ()
        if wrote in (Wrote.SIGNS, Wrote.NOTHING) or self.answer.may_be_whole(attempt):
            progressed = Progressed(attempt=attempt)
            begun = self._carry_out(self.attempting.handle(progressed, now), now)
        if wrote is Wrote.SIGNS and not self.answer.said:
            begun = (*begun, _report_empty(self.attempting, asks_again=False))
        rest = self.answer.finish(attempt)
        actions = self.attempting.handle(Finished(attempt=attempt), now)
        return (*begun, *self._carry_out(actions, now, rest=rest))

    def handle(self, event: Failed | Resumed | Dropped, now: float) -> tuple[AnswerAction, ...]:
        """Decide on a failure, a resumption or a drop of an attempt; return the actions."""
        self.attempting.until = self._until(now)
        if isinstance(event, Failed):
            return self._note_failure(event, now)
        return self._carry_out(self.attempting.handle(event, now), now)

    def tick(self, now: float) -> tuple[AnswerAction, ...]:
        """Return the actions that are due by now.

        After all rungs have failed, the kept question is asked again once a rung has recovered. A
        request that failed alike at every rung is then given up, unless other requests failed, too.
        """
        if self._recheck_at is None:
            self.attempting.until = self._until(now)
            return self._carry_out(self.attempting.tick(now), now)
        if now < self._recheck_at:
            return ()
        policy = self.attempting.policy
        if policy.has_recovered(now):
            self._recheck_at = None
            if self.attempting.failed_alike and not policy.has_failed_since(self._started_at):
                return (Exhausted(attempts=self.attempting.attempts),)  # only this request failed
            whole = (LeaveMessageOut(step=0),) if self._step else ()
            self.attempting, self._step, self._asked_anew = self._begin(), 0, True
            self._refusers, self._suspects, self._late = set(), set(), set()
            return (*whole, *self.start(now))
        return self._keep_question(now)

    def cancel(self, now: float) -> tuple[AnswerAction, ...]:
        """Cancel everything: the caller spoke, or hung up.

        A kept question is dropped.
        """
        self._recheck_at = None
        return self._carry_out(self.attempting.cancel("caller"), now)

    def _note_failure(self, event: Failed, now: float) -> tuple[AnswerAction, ...]:
        """Decide on a failure, and note what it says about the request.

        It is noted who refused the content (`_refusers`), who may have (`_suspects`), and whether a
        failure may pass (`_transient`).
        """
        failure = event.failure
        self._transient |= not failure.permanent
        refused = failure.scope in OF_REQUEST
        self._refusers |= {failure.provider} if refused else set()
        self._all_refused &= refused
        answered = refused or failure.kind in ANSWERED
        self._suspects |= {failure.provider} if answered else set()
        self._all_answered &= answered
        event = replace(event, heard_words=len(self.answer.said.split()))
        return self._carry_out(self.attempting.handle(event, now), now)

    def _may_ask_with_less(self) -> bool:
        """Return whether less of the conversation may be sent, as its content may be the cause.

        It may be if every rung refused, or if one did and no words were said. Once words were said,
        a rung that failed otherwise may still continue the answer.
        """
        judged = self.refused or (bool(self._refusers) and not self.answer.whole)
        uncertain = self._wordless > 0 or not self._refusers
        most = min(self.leaves_out, 1) if uncertain else self.leaves_out
        return judged and self._step < most

    def _ask_with_less(
        self, actions: Iterable[AttemptAction], now: float
    ) -> tuple[AnswerAction, ...]:
        """Ask the rungs that refused the content once more, with less of it.

        The others could not judge the content. If one of those that did accepts the rest, what was
        left out was the cause. A rung alone may have failed by chance each time, so it is first
        asked once more for all of it.
        """
        ended = [action for action in actions if not _ends_stage(action)]
        done = self._stage_actions(ended, now, rest="")
        judges, certain = self._refusers or self._suspects, bool(self._refusers)
        by_chance = not certain and len(judges | self._late) == 1
        self._refusers, self._suspects, self._late = set(), set(), set()
        self.attempting = self._begin()
        if by_chance and not self._asked_anew:
            self._asked_anew = True
            return (*done, *self.start(now))
        self._step += 1
        self.attempting.ask_only(judges, once=not certain or self._wordless > 0)
        return (*done, *self.start(now))

    def _carry_out(
        self, actions: tuple[AttemptAction, ...], now: float, *, rest: str = ""
    ) -> tuple[AnswerAction, ...]:
        """Carry out the actions of `Attempting` on the answer; return those for the stage."""
        exhausted = any(isinstance(action, Exhausted) for action in actions)
        if exhausted and self._may_ask_with_less():
            return self._ask_with_less(actions, now)
        return self._stage_actions(actions, now, rest=rest)

    def _stage_actions(
        self, actions: Iterable[AttemptAction], now: float, *, rest: str
    ) -> tuple[AnswerAction, ...]:
        """Return what the stage must do for these actions of the attempts.

        Also notes which rung each attempt asks and what its failure says of the others, sets the
        answer back where another rung continues, and keeps the question if no rung is left. `rest`
        is the text that is written before `Done`.
        """
        done: list[AnswerAction] = []
        for action in actions:
            match action:
                case EmitEvent():
                    empty = self._wordless > 0 and isinstance(action.fact, StageExhausted)
                    done.append(
                        _report_empty(self.attempting, asks_again=True) if empty else action
                    )
                case Ask():
                    self._asked[action.attempt] = action.provider
                    done.append(replace(action, mended=action.mended and not self._wordless))
                case Use():
                    self.answer.start_attempt(action.attempt)
                    taken_back = self.answer.taken_back
                    done.append(UseModel(provider=action.provider, taken_back=taken_back))
                case Done():
                    done += [*_text_action(self.answer, action.attempt, rest), action]
                case Stop():
                    self._transient |= action.because == "late"
                    self._all_refused &= action.because != "late"
                    self._late |= {action.provider} if action.because == "late" else set()
                    done.append(action)
                case Exhausted():
                    self.answer.start_attempt(NO_ATTEMPT)
                    done.append(UseModel(provider="", taken_back=self.answer.taken_back))
                    done += self._keep_question(now)
        return tuple(done)

    def _keep_question(self, now: float) -> tuple[Exhausted, ...]:
        """Keep the question until a rung is available, for `recovers_s` at most.

        Give up at once if all failures were permanent. After an empty answer, nothing is kept.
        """
        if self._wordless:
            return ()  # the caller is asked to repeat
        self._give_up_at = now + self._recovers_s if self._give_up_at is None else self._give_up_at
        hopeless = self.attempting.attempts > 0 and not self._transient
        if hopeless or now >= self._give_up_at:
            self._recheck_at = None
            return (Exhausted(attempts=self.attempting.attempts),)
        self._recheck_at = now + RUNG_CHECK_S
        return ()


def _no_sooner_than(
    at: float, turn_until: Callable[[float], Deadline]
) -> Callable[[float], Deadline]:
    """Return a function that returns the turn's deadline, or `at` if that is later."""
    return lambda now: turn_until(now).no_sooner_than(at)


def _empty_failure(stage: str, provider: str, empty_before: int) -> Failure:
    """Return the failure of an empty answer; the rung is asked again only after the first one."""
    return failed(
        finding(Kind.SILENT, Scope.PAYLOAD),
        stage,
        provider=provider,
        reason="an answer without a word",
        same_rung=empty_before == 0,
    )


def _report_empty(attempting: Attempting, *, asks_again: bool) -> EmitEvent:
    """Return the action that publishes `AnswerEmpty`, in place of an outage if `asks_again`."""
    stage, attempts = attempting.policy.stage, attempting.attempts
    return EmitEvent(AnswerEmpty(stage=stage, attempts=attempts, asks_again=asks_again))


def _text_action(answer: Answer, attempt: int, text: str) -> tuple[WriteText, ...]:
    """Return the action that writes text and takes back what was withdrawn; empty for neither.

    It resets `answer.withdrawn`.
    """
    taken_back, answer.withdrawn = answer.withdrawn, 0
    action = WriteText(attempt=attempt, text=text, taken_back=taken_back)
    return (action,) if text or taken_back else ()


def _ends_stage(action: AttemptAction) -> bool:
    """Return whether an action gives the request up."""
    outage = isinstance(action, EmitEvent) and isinstance(action.fact, StageExhausted)
    return outage or isinstance(action, Exhausted)


def _without_end(action: AnswerAction) -> AnswerAction:
    """Replace `Done` with `Stop`: what follows the words of a limited answer is dropped."""
    if not isinstance(action, Done):
        return action
    return Stop(attempt=action.attempt, provider=action.provider, because="text")
