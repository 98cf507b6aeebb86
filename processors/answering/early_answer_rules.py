"""Early answers: when to ask before the caller has certainly finished, and whether to use it.

When the caller falls silent, the model is asked with the words so far, unless more are pending.
When other words arrive, it is asked again. When the caller speaks on, or the turn is decided with
other words or another conversation, the answer is dropped unheard. A dropped answer is still
billed, so such requests have a budget.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fallbacks.ladder import EarlyBudget

_WORD: Final = re.compile(r"\w+")

DropReason: TypeAlias = Literal["caller", "words", "context", "exhausted", "ended"]
"""Why an early answer was dropped: the caller spoke on, the words differ, the conversation differs,
no rung could answer, the call ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyQuestion:
    """The question to a model.

    Attributes:
        before: The conversation and the tools, as sent.
        words: The caller's words.
    """

    before: tuple[str, ...]
    words: str

    def differs(self, other: "EarlyQuestion") -> DropReason | None:
        """Return what differs in another question, ignoring capitals and punctuation."""
        if self.before != other.before:
            return "context"
        return None if plain(self.words) == plain(other.words) else "words"


def plain(words: str) -> str:
    """Return words without capitals and punctuation."""
    return " ".join(_WORD.findall(words.casefold()))


@dataclass(frozen=True, slots=True)
class PrepareAnswer:
    """Ask for the answer to these words, and keep it."""

    words: str


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """Cancel the early answer; the caller heard nothing of it."""

    because: DropReason


EarlyAction: TypeAlias = PrepareAnswer | DropAnswer
"""The actions of `EarlyAnswer`."""


class EarlyAnswer:
    """Decides when one call asks early, and whether the answer fits.

        early = EarlyAnswer(budget)
        early.words("Are you open?", complete=True)
        early.pause()                  # (PrepareAnswer("Are you open?"),)
        early.asked(question)
        early.decide(question)         # None: it fits, take it

    Attributes:
        question: The pending early question, or `None`.
    """

    def __init__(self, budget: EarlyBudget) -> None:
        """Prepare.

        Args:
            budget: Shared by all calls; settled when the answer is dropped or taken.
        """
        self.question: EarlyQuestion | None = None
        self._budget = budget
        self._words = ""
        self._asked_for = ""  # part of the question, which may also hold words before a pause
        self._complete = True
        self._may_ask = False  # the caller has paused, and this pause is not used up

    def words(self, words: str, *, complete: bool) -> tuple[EarlyAction, ...]:
        """Take the caller's words of this turn.

        Args:
            words: As far as they are transcribed.
            complete: No more are pending.
        """
        self._words, self._complete = words, complete
        return self._look()

    def pause(self) -> tuple[EarlyAction, ...]:
        """Ask, if there are words: the caller fell silent, perhaps for good."""
        self._may_ask = True
        return self._look()

    def drop(self, because: DropReason) -> tuple[EarlyAction, ...]:
        """Drop the pending answer, and ask no other before the next pause."""
        self._may_ask = False
        return self._drop(because)

    def asked(self, question: EarlyQuestion) -> None:
        """Record the pending early question."""
        self.question = question

    def decide(self, question: EarlyQuestion) -> DropReason | None:
        """Return whether the early answer fits the question that is asked now.

        Returns:
            Why not; `None` if it fits, or if there was none.
        """
        early, self.question = self.question, None
        self._may_ask, self._words, self._complete = False, "", True
        return None if early is None else early.differs(question)

    def _look(self) -> tuple[EarlyAction, ...]:
        """Ask if the caller has said something that is not being asked yet."""
        if not self._may_ask:
            return ()
        other = self.question is not None and plain(self._asked_for) != plain(self._words)
        dropped = self._drop("words") if other else ()
        if self.question is not None or not (self._complete and plain(self._words)):
            return dropped
        if not self._budget.reserve():
            return dropped
        self._asked_for = self._words
        return (*dropped, PrepareAnswer(self._words))

    def _drop(self, because: DropReason) -> tuple[DropAnswer, ...]:
        early, self.question = self.question, None
        return (DropAnswer(because),) if early else ()
