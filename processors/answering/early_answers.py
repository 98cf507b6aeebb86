"""Asks the model while it is still being decided whether the caller has finished."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.utils.string import TextPartForConcatenation, concatenate_aggregated_text

from calls.entry import Tell
from calls.turn import Turn
from fallbacks.early_answer import (
    CallerPaused,
    CallerWentOn,
    CallOver,
    DropAnswer,
    DropReason,
    EarlyAnswer,
    EarlyBudget,
    EarlyEvent,
    EarlyExhausted,
    EarlyQuestion,
    PrepareAnswer,
    WordsStand,
)
from fallbacks.facts import EarlyAnswerAsked, EarlyAnswerDropped, EarlyAnswerTaken
from processors.answering.context_window import fit_context
from processors.answering.memory import Memory
from processors.answering.prepared_answer import MakeAnswer, PreparedAnswer
from processors.ladder.reconnector import TaskOwner
from processors.turn.pauses import PauseEnded, PauseSoundsFinal


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyMeans:
    """What the stage lends for asking early.

    Attributes:
        make: Begins an answer.
        budget: How many requests may be made in vain.
        has_room: Whether a rung would be asked at once: an answer that nobody may want makes no
            other call wait.
        window_tokens: The context window.
        owner: Of the tasks.
        tell: Takes the facts.
        bill: Gets a dropped answer and its turn, to tell what it costs.
        clock: Monotonic, in seconds.
        turn: The turn in progress.
    """

    make: MakeAnswer
    budget: EarlyBudget
    has_room: Callable[[], bool]
    window_tokens: int
    owner: TaskOwner
    tell: Tell
    bill: Callable[[PreparedAnswer, int], None]
    clock: Callable[[], float]
    turn: Turn


class EarlyAnswers:
    """Reads what the caller says and when it ends, and keeps the answer to it for the stage.

    It reads frames above the caller's side of the context: there they are before that side, which
    may wait for the turn detector, has them. It asks for exactly what will be asked when the turn
    is decided; `take` compares the two.
    """

    def __init__(self, memory: Memory, means: EarlyMeans) -> None:
        """Prepare.

        Args:
            memory: The conversation so far; the caller's words go behind it.
            means: See there.
        """
        self._memory = memory
        self._means = means
        self._budget = means.budget
        self._tell = means.tell
        self._now = means.clock
        self._decision = EarlyAnswer(means.budget)
        self._prepared: PreparedAnswer | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._number = 0  # of the turn that it is prepared for
        self._parts: list[TextPartForConcatenation] = []
        self._interim = False  # words were heard that are not written down yet
        self._speaks = False  # since the last words that were written down

    def hear(self, frame: Frame) -> None:
        """Read a frame; waits for nothing."""
        match frame:
            case InterimTranscriptionFrame():
                self._interim = True
                self._note_words()
            case TranscriptionFrame():
                self._interim = self._speaks = False
                if frame.text.strip():
                    spaced = frame.includes_inter_frame_spaces
                    self._parts.append(TextPartForConcatenation(frame.text, spaced))
                self._note_words()
            case PauseSoundsFinal():
                self._handle(CallerPaused())
            case VADUserStoppedSpeakingFrame():
                self._speaks = False  # they may have said nothing: no words may come
                self._note_words()
                self._handle(CallerPaused())
            case VADUserStartedSpeakingFrame() | PauseEnded():
                self._speaks = True
                self._note_words()
                self._handle(CallerWentOn())
            case UserStoppedSpeakingFrame():  # they are in the conversation now
                self._parts, self._interim = [], False
            case _:
                pass

    def take(self, context: LLMContext) -> PreparedAnswer | None:
        """Return the answer to what is asked now, if it is the one that was prepared."""
        self._budget.note()
        differs = self._decision.decide(question_of(context))
        if self._prepared is None:
            return None
        if differs:
            self._drop(differs)
            return None
        prepared, self._prepared = self._prepared, None
        self._budget.settle(extra=0)
        now = self._now()
        self._tell(
            EarlyAnswerTaken(
                turn=self._number,
                asked_s=now - prepared.asked_at,
                gained_s=prepared.gained_s(now),
                extra_share=self._budget.extra_share,
                calls_tool=bool(prepared.calls_tool),
            )
        )
        return prepared

    async def close(self) -> None:
        """Drop what nobody will take any more, and wait until it is gone."""
        self._handle(CallOver())
        await asyncio.gather(*self._closing)

    def _note_words(self) -> None:
        words = concatenate_aggregated_text(self._parts)
        self._handle(WordsStand(words=words, complete=not (self._interim or self._speaks)))

    def _handle(self, event: EarlyEvent) -> None:
        for action in self._decision.handle(event):
            match action:
                case PrepareAnswer():
                    self._prepare(action.words)
                case DropAnswer():
                    self._drop(action.because)

    def _prepare(self, words: str) -> None:
        if not self._means.has_room():
            self._budget.settle(extra=0)
            return
        memory = self._memory
        whole = LLMContext(
            messages=memory.with_words(words), tools=memory.tools, tool_choice=memory.tool_choice
        )
        context = fit_context(whole, self._means.window_tokens)[0]
        self._number = self._means.turn.number + 1
        self._decision.asked(question_of(context))
        self._tell(EarlyAnswerAsked(turn=self._number))
        self._prepared = PreparedAnswer(
            context,
            self._means.make,
            owner=self._means.owner,
            tell=self._tell,
            clock=self._now,
            on_exhausted=lambda: self._handle(EarlyExhausted()),
        )

    def _drop(self, because: DropReason) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return
        extra = prepared.requests
        self._budget.settle(extra=extra)
        self._means.bill(prepared, self._number)
        closing = self._means.owner.create_task(prepared.close(), "drop an early answer")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._tell(
            EarlyAnswerDropped(
                turn=self._number,
                because=because,
                after_s=self._now() - prepared.asked_at,
                requests=extra,
                extra_share=self._budget.extra_share,
            )
        )


def question_of(context: LLMContext) -> EarlyQuestion:
    """Return what a model is asked with a context, so that two can be compared.

    Messages are written out: some are changed in place later, such as a tool's result.
    """
    *before, last = context.messages or [{}]
    heard = last.get("content") if isinstance(last, dict) and last.get("role") == "user" else None
    words = heard if isinstance(heard, str) else ""
    rest = () if words else (str(last),)
    tools = (str(id(context.tools)), str(context.tool_choice))
    return EarlyQuestion(before=(*map(str, before), *rest, *tools), words=words)
