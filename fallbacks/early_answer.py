"""Asking before it is certain that the caller has finished: when, and whether the answer fits.

The caller falls silent: `asked` for the words that are there, unless more of them are on their way.
When other words come, it is asked again with those. When the caller speaks on, or the turn is
decided with other words or after another conversation, the answer is dropped, and nobody hears of
it. An answer that is dropped is billed all the same, so there is a budget for such requests.
"""

import re
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

SHARE: Final = 0.25  # extra requests among the recent ones, at most; docs/decisions/0009
FLOOR: Final = 3  # extra requests that are always allowed: the first calls have no history
RECENT: Final = 100  # requests that "recent" means
_WORD: Final = re.compile(r"\w+")

DropReason: TypeAlias = Literal["caller", "words", "context", "exhausted", "ended"]
"""Why an early answer was of no use: the caller spoke on, said something else, the conversation was
another one by then, nobody could answer, the call ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyQuestion:
    """What a model is asked.

    Attributes:
        before: The conversation and the tools, as they are sent.
        words: The caller's.
    """

    before: tuple[str, ...]
    words: str

    def differs(self, other: "EarlyQuestion") -> DropReason | None:
        """Say what is different in another question; capitals and punctuation are nothing."""
        if self.before != other.before:
            return "context"
        return None if plain(self.words) == plain(other.words) else "words"


def plain(words: str) -> str:
    """Return words as they are spoken: without capitals and punctuation."""
    return " ".join(_WORD.findall(words.casefold()))


@dataclass(frozen=True, slots=True)
class CallerPaused:
    """The caller fell silent, perhaps for good."""


@dataclass(frozen=True, slots=True)
class CallerWentOn:
    """The caller speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsStand:
    """What the caller has said in this turn, as far as it is written down."""

    words: str
    complete: bool  # False: it is known that more words are on their way


@dataclass(frozen=True, slots=True)
class EarlyExhausted:
    """Nobody could answer early."""


@dataclass(frozen=True, slots=True)
class CallOver:
    """The call is over."""


EarlyEvent: TypeAlias = CallerPaused | CallerWentOn | WordsStand | EarlyExhausted | CallOver
"""What an `EarlyAnswer` reads."""


@dataclass(frozen=True, slots=True)
class PrepareAnswer:
    """Ask for the answer to these words, and keep it."""

    words: str


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """Call the early answer off; nobody has heard of it."""

    because: DropReason


EarlyAction: TypeAlias = PrepareAnswer | DropAnswer
"""What an `EarlyAnswer` wants done."""


class EarlyBudget:
    """How many requests may be made in vain; shared by all calls of a process.

    Attributes:
        asked: Requests for answers that were decided, since the process began.
        extra: Requests beside them, for answers that were dropped.
        reserved: Requests of which is not known yet what they are.
    """

    def __init__(self, *, share: float = SHARE, floor: int = FLOOR, recent: int = RECENT) -> None:
        self.asked = 0
        self.extra = 0
        self._share = share
        self._floor = floor
        self._recent: deque[bool] = deque(maxlen=recent)
        self.reserved = 0

    @property
    def extra_share(self) -> float:
        """The extra requests for each that was asked for a decided turn."""
        return self.extra / self.asked if self.asked else float(self.extra)

    def note(self) -> None:
        """Count a request for a decided answer, be it early or not."""
        self.asked += 1
        self._recent.append(False)

    def reserve(self) -> bool:
        """Say whether one more may be asked early; if so, `settle` follows."""
        ordinary = len(self._recent) - sum(self._recent)
        allowed = sum(self._recent) + self.reserved < max(self._floor, int(self._share * ordinary))
        self.reserved += allowed
        return allowed

    def settle(self, extra: int) -> None:
        """End a reservation, in which so many requests were made in vain."""
        self.reserved -= 1
        self.extra += extra
        self._recent.extend([True] * extra)


class EarlyAnswer:
    """Decides for one call.

        early = EarlyAnswer(budget)
        early.handle(WordsStand(words="Are you open?", complete=True))
        early.handle(CallerPaused())   # (PrepareAnswer("Are you open?"),)
        early.asked(question)
        early.decide(question)         # None: it fits, take it

    Attributes:
        question: What is being asked early; None: nothing.
    """

    def __init__(self, budget: EarlyBudget) -> None:
        """Prepare.

        Args:
            budget: Shared by all calls; settled when the answer is dropped or taken.
        """
        self.question: EarlyQuestion | None = None
        self._budget = budget
        self._words = ""
        self._asked_for = ""  # of them; the question may hold more: what was said before a pause
        self._complete = True
        self._paused = False

    def handle(self, event: EarlyEvent) -> tuple[EarlyAction, ...]:
        """Decide on what happened."""
        match event:
            case WordsStand():
                self._words, self._complete = event.words, event.complete
                return self._look()
            case CallerPaused():
                self._paused = True
                return self._look()
            case CallerWentOn():
                self._paused = False
                return self._drop("caller")
            case EarlyExhausted():
                self._paused = False  # it is asked late, by rungs that are trusted then
                return self._drop("exhausted")
            case CallOver():
                self._paused = False
                return self._drop("ended")

    def asked(self, question: EarlyQuestion) -> None:
        """Note what is being asked early."""
        self.question = question

    def decide(self, question: EarlyQuestion) -> DropReason | None:
        """Say whether the early answer is the answer to what is asked now.

        Returns:
            Why not; None: it is, or there was none.
        """
        early, self.question = self.question, None
        self._paused, self._words, self._complete = False, "", True
        return None if early is None else early.differs(question)

    def _look(self) -> tuple[EarlyAction, ...]:
        """Ask, if the caller is silent and has said something that is not being asked yet."""
        if not self._paused:
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
