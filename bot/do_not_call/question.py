"""Asks a model, yes or no, whether a person opts out of calls, or wants them after all.

The words of the person are content: the model may answer only yes or no, and any other answer is
none. No reply waits for this question.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from loguru import logger

from bot.do_not_call.opt_out_rules import may_name_calls, wants_calls_after_all, wants_no_calls
from bot.tools.tool_words import QUESTIONS
from calls.entry import Emit
from calls.events import UsageMeasured
from fallbacks.failure import ServiceError
from operations.after_call.asking import ResultPen, use_of
from providers.provider import PenQuestion

JUDGE_WITHIN_S: Final = 3.0  # a later answer is none, and the words decide (chosen)
JUDGED_S: Final = 0.5  # for what follows an answer, at the end of a call
MAX_QUESTIONS: Final = 20  # in one call; then the words decide (chosen)
MAX_ASKED: Final = 2000  # characters of a turn that the model gets (chosen)


class Wish(Enum):
    """What a person may wish, with the instruction to the model."""

    NO_CALLS = f"{QUESTIONS['no_calls']} {QUESTIONS['rules']}"
    CALLS_AGAIN = f"{QUESTIONS['calls_again']} {QUESTIONS['rules']}"


class OptOutQuestion:
    """Asks the models of the calls; see `ask`."""

    def __init__(self, pen: ResultPen) -> None:
        """Use these models."""
        self._pen = pen

    async def ask(
        self, wish: Wish, said: str, *, emit: Callable[[UsageMeasured], None]
    ) -> bool | None:
        """Return the model's answer about a turn's words; `None` if there is none in time.

        Args:
            wish: What to ask.
            said: The words of the turn.
            emit: Takes the billed tokens.
        """
        text = json.dumps({"said": said[:MAX_ASKED]}, ensure_ascii=False)
        question = PenQuestion(instruction=wish.value, text=text)
        try:
            async with asyncio.timeout(JUDGE_WITHIN_S):
                name, answer = await self._pen.write(question)
        except (TimeoutError, ServiceError) as error:
            logger.info("no model judged a sentence about calls: {!r}", error)
            return None
        emit(use_of(name, question, answer))
        return {"yes": True, "no": False}.get(answer.text.strip(" \n\t.!\"'*`").casefold())


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedTurn:
    """A turn of the person that may be a request about calls.

    Attributes:
        number: The turn's number.
        said: Its words.
        stored: The words as they may be stored.
        language: The tag of their language.
        wish: What it may be.
    """

    number: int
    said: str
    stored: str
    language: str
    wish: Wish

    @property
    def is_unmistakable(self) -> bool:
        """Whether the words alone are a request."""
        asks = wants_no_calls if self.wish is Wish.NO_CALLS else wants_calls_after_all
        return asks(self.said)


class SentenceJudge:
    """Judges the turns of one call that name calls: asks a model, or lets the words decide."""

    def __init__(
        self,
        question: OptOutQuestion | None,
        act: Callable[[NotedTurn, str], None],
        *,
        turn: Callable[[], int],
        emit: Emit,
    ) -> None:
        """Call `act` for each request, with what recognised it: `model` or `words`."""
        self._question = question
        self._act = act
        self._turn = turn
        self._emit = emit
        self._noted: NotedTurn | None = None
        self._asked = 0
        self._asking = dict[asyncio.Task[None], NotedTurn]()  # owned by this object: see `close`

    def note(self, turn: NotedTurn) -> None:
        """Keep a turn if it may be a request, instead of an earlier one; `decide` judges it."""
        is_suspect = may_name_calls(turn.said, turn.language) or turn.is_unmistakable
        self._noted = turn if is_suspect else None

    def forget(self) -> None:
        """Judge the noted turn no more: the model has used its tool."""
        self._noted = None

    def decide(self, *, by_words: bool = False, until: int | None = None) -> None:
        """Judge the noted turn once, unless it is later than `until`; a model is asked in a task.

        Words decide at once if `by_words`, without a model, or after `MAX_QUESTIONS` questions.
        """
        turn = self._noted
        if turn is None or (until is not None and until < turn.number):
            return
        self._noted = None
        if by_words or self._question is None or self._asked >= MAX_QUESTIONS:
            self._by_words(turn)
            return
        self._asked += 1
        work = self._ask_and_act(self._question, turn)
        task = asyncio.get_running_loop().create_task(work, name="judge a sentence about calls")
        self._asking[task] = turn
        task.add_done_callback(lambda done: self._asking.pop(done, None))

    async def wait(self) -> None:
        """Wait until models have judged all turns, for at most the time of one question."""
        if self._asking:
            await asyncio.wait(set(self._asking), timeout=JUDGE_WITHIN_S + JUDGED_S)

    def close(self) -> None:
        """Ask no longer: where no model has answered, the words decide."""
        for task, turn in list(self._asking.items()):
            task.cancel()
            self._by_words(turn)

    async def _ask_and_act(self, question: OptOutQuestion, turn: NotedTurn) -> None:
        """Ask a model about a turn, and act on a yes; without an answer, the words decide."""
        number = self._turn()
        is_wish = await question.ask(
            turn.wish, turn.said, emit=lambda used: self._emit(replace(used, turn=number))
        )
        if is_wish is None:
            self._by_words(turn)
        elif is_wish:
            self._act(turn, "model")

    def _by_words(self, turn: NotedTurn) -> None:
        if turn.is_unmistakable:
            self._act(turn, "words")
