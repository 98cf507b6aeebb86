"""Collects a model's words into sentences; an incomplete word can be taken back."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import DataFrame
from pipecat.utils.string import SENTENCE_ENDING_PUNCTUATION, match_endofsentence
from pipecat.utils.text.base_text_aggregator import Aggregation, TextType
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

from fallbacks.ladder import ClauseRule
from processors.speaking.clause_rules import FirstClause, hurried_end

# A word and a sign: not a number that may get decimals, an initial or an address.
_ENDING: Final = re.compile(r"(?:^|\s)[¿¡]?[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[^\W\d_]{2}[.!?]$")
# A character that may still be closed after the sign.
_OPEN: Final = frozenset('"\u201c\u201d\u201e\u00ab\u00bb()[]')
_LIKELIER_PART: Final = " a"  # a lower-case letter follows abbreviations more often than sentences


@dataclass
class TakeBackFrame(DataFrame):
    """The last characters of the answer are incomplete, and must not be spoken.

    Words are passed on as they come, because the voice waits for the first character of the next
    sentence. An incomplete word never ends a sentence, so it is still here when it is taken back.

    Attributes:
        characters: The number of them.
    """

    characters: int = 0


class Sentences(SimpleTextAggregator):
    """Pipecat's own rules for the end of a sentence, with text that can be taken back.

    Those rules wait for the first character of what follows. If nothing that follows could change
    the result, the sentence is released without it: one word of the model sooner. The beginning of
    a reply's first sentence is released earlier, if the voice accepts partial text.
    """

    def __init__(self, *, language: Any = None, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Prepare.

        Args:
            language: As Pipecat's aggregators take it.
            clock: Monotonic, in seconds.
        """
        super().__init__(language=language)
        self._now = clock
        self._first: FirstClause | None = None  # set until part of the reply is released
        self._begun = False  # the beginning of a sentence was released, and not its end

    @property
    def hurriable(self) -> bool:
        """Whether `hurry` would release something."""
        return self._begun and hurried_end(self._text) > 0

    def begin_reply(self, rule: ClauseRule | None) -> None:
        """Release the first clause before its sentence ends, if the rule allows."""
        self._first = FirstClause(rule)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Add a piece of text as the model sent it, and yield the sentences that it ends."""
        async for sentence in super().aggregate(text):
            self._first, self._begun = None, False
            yield sentence
        if self._ended and (sentence := await self.flush()):
            yield sentence
        elif self._first and (clause := self._let_go(self._first.end(self._text, self._now()))):
            yield clause

    def hurry(self) -> Aggregation | None:
        """Release the whole words so far of a sentence whose beginning was released."""
        return self._let_go(hurried_end(self._text)) if self._begun else None

    async def flush(self) -> Aggregation | None:
        """Return all that is collected."""
        self._first, self._begun = None, False
        return await super().flush()

    async def handle_interruption(self) -> None:
        """Discard everything."""
        self._first, self._begun = None, False
        await super().handle_interruption()

    def _let_go(self, end: int) -> Aggregation | None:
        if end == 0:
            return None
        clause, rest = self._text[:end].strip(), self._text[end:]
        self._collect(rest)
        self._first, self._begun = None, True
        return Aggregation(text=clause, type=TextType.SENTENCE)

    @property
    def _ended(self) -> bool:
        """Whether the collected text is a sentence, whatever follows."""
        text = self._text
        if not _ENDING.search(text) or not _OPEN.isdisjoint(text):
            return False
        end = match_endofsentence(text + _LIKELIER_PART, language=self.language)
        return end == len(text)

    def take_back(self, characters: int) -> None:
        """Discard the last characters, unless they are already part of a sentence."""
        self._collect(self._text[: max(0, len(self._text) - characters)])

    def _collect(self, text: str) -> None:
        """Replace the collected text."""
        self._text = text
        pending = text.rstrip()[-1:] in SENTENCE_ENDING_PUNCTUATION and bool(text)
        state = type(self._lookahead_state)
        self._lookahead_state = state.AWAITING_CHARACTER if pending else state.IDLE
