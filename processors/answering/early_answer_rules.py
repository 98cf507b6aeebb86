"""Early answers: when to ask before the caller has certainly finished, and whether to use them.

When the caller pauses, the model is asked about the words so far, unless more words are pending. If
the words change, it is asked again. If the caller resumes, or the turn is decided with other words
or a changed conversation, the answer is dropped unheard. A dropped answer is still billed, so such
requests have a budget.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fallbacks.ladder import EarlyBudget

_WORD: Final = re.compile(r"\w+")

DropReason: TypeAlias = Literal["caller", "words", "context", "exhausted", "ended"]
"""Why an early answer was dropped: the caller resumed, the words differ, the conversation differs,
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
        """Return what differs, or `None`; capitals and punctuation do not count."""
        if self.before != other.before:
            return "context"
        return None if bare_words(self.words) == bare_words(other.words) else "words"


def bare_words(words: str) -> str:
    """Return words without capitals and punctuation."""
    return " ".join(_WORD.findall(words.casefold()))


@dataclass(frozen=True, slots=True)
class PrepareAnswer:
    """Ask for an answer to these words, and keep it."""

    words: str


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """Cancel the early answer; the caller has heard nothing of it."""

    because: DropReason


EarlyAction: TypeAlias = PrepareAnswer | DropAnswer
"""The actions of `EarlyAnswer`."""


class EarlyAnswer:
    """Decides when one call asks early, and whether the answer can be used.

        early = EarlyAnswer(budget)
        early.words("Are you open?", complete=True)
        early.pause()                  # (PrepareAnswer("Are you open?"),)
        early.asked(question)
        early.decide(question)         # `None` if it answers this question

    Attributes:
        question: The pending early question, or `None`.
    """

    def __init__(self, budget: EarlyBudget) -> None:
        """Create the decision for one call.

        Args:
            budget: Limits early requests, for all calls. The caller of this class settles each
                reservation.
        """
        self.question: EarlyQuestion | None = None
        self._budget = budget
        self._words = ""
        self._asked_for = ""  # this turn's words in the question
        self._complete = True
        self._may_ask = False  # the caller has paused, and has not resumed
        self._hopeless = ""  # this turn's words if no rung could answer them

    def words(self, words: str, *, complete: bool) -> tuple[EarlyAction, ...]:
        """Record the caller's words in this turn; return the actions for new words.

        Args:
            words: The words transcribed so far.
            complete: Whether no more words are expected.
        """
        self._words, self._complete = words, complete
        return self._ask_or_drop()

    def pause(self) -> tuple[EarlyAction, ...]:
        """Record that the caller has paused, and ask if there are words."""
        self._may_ask = True
        return self._ask_or_drop()

    def drop(self, because: DropReason) -> tuple[EarlyAction, ...]:
        """Drop the pending answer, and do not ask again before the next pause.

        If no rung could answer (`exhausted`), the same words are not asked about again in this
        turn.
        """
        self._may_ask = False
        self._hopeless = bare_words(self._asked_for) if because == "exhausted" else self._hopeless
        return self._drop_question(because)

    def asked(self, question: EarlyQuestion) -> None:
        """Record the pending early question."""
        self.question = question

    def decide(self, question: EarlyQuestion) -> DropReason | None:
        """Compare the early question with that of the decided turn, and reset for the next turn.

        Returns:
            The difference; `None` if there is none, or if there was no early question.
        """
        early, self.question = self.question, None
        self._may_ask, self._words, self._complete, self._hopeless = False, "", True, ""
        return None if early is None else early.differs(question)

    def _ask_or_drop(self) -> tuple[EarlyAction, ...]:
        """Return the actions that drop an answer to other words, and ask about the new ones.

        It asks only while the caller pauses, if the words are complete, and if the budget allows
        it, which is then used.
        """
        if not self._may_ask:
            return ()
        outdated = self.question is not None and bare_words(self._asked_for) != bare_words(
            self._words
        )
        dropped = self._drop_question("words") if outdated else ()
        words = bare_words(self._words)
        if self.question is not None or not self._complete or words in ("", self._hopeless):
            return dropped
        if not self._budget.reserve():
            return dropped
        self._asked_for = self._words
        return (*dropped, PrepareAnswer(self._words))

    def _drop_question(self, because: DropReason) -> tuple[DropAnswer, ...]:
        """Forget the question; return the action that drops its answer, or none."""
        early, self.question = self.question, None
        return (DropAnswer(because),) if early else ()
