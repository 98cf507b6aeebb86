"""Collects a model's words into sentences, and lets go of half a word again."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import DataFrame
from pipecat.utils.string import SENTENCE_ENDING_PUNCTUATION, match_endofsentence
from pipecat.utils.text.base_text_aggregator import Aggregation, TextType
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

from fallbacks.clauses import ClauseRule, FirstClause, hurried_end

# A word of letters and the sign behind it: no number that may get decimals, no initial, no address.
_ENDING: Final = re.compile(r"(?:^|\s)[¿¡]?[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[^\W\d_]{2}[.!?]$")
# What may still have to be closed behind the sign.
_OPEN: Final = frozenset('"\u201c\u201d\u201e\u00ab\u00bb()[]')
_LIKELIER_PART: Final = " a"  # a small letter follows abbreviations more often than sentences


@dataclass
class TakeBackFrame(DataFrame):
    """The last characters of the answer are not to be said: their word was cut in the middle.

    Words are handed on as they come, because the voice waits for the first sign of the next
    sentence; half a word never ends one, so it is still here when it turns out to be half.

    Attributes:
        characters: How many.
    """

    characters: int = 0


class Sentences(SimpleTextAggregator):
    """Pipecat's own rules of where a sentence ends, over text that can be taken back.

    Those rules wait for the first sign of what follows. Where nothing that could follow would
    change their mind, the sentence is let go without it: one word of the model sooner. Of a reply's
    first sentence the beginning is let go before, where the voice takes text as it comes.
    """

    def __init__(self, *, language: Any = None, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Prepare.

        Args:
            language: As Pipecat's aggregators take it.
            clock: Monotonic, in seconds.
        """
        super().__init__(language=language)
        self._now = clock
        self._first: FirstClause | None = None  # nothing of a reply was let go yet
        self._begun = False  # the beginning of a sentence was let go, and not its end

    @property
    def hurriable(self) -> bool:
        """Whether `hurry` would let something go."""
        return self._begun and hurried_end(self._text) > 0

    def begin_reply(self, rule: ClauseRule | None) -> None:
        """Let the first clause of what follows go before its sentence ends, if the rule says so."""
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
        """Let go the whole words that there are of a sentence whose beginning went before."""
        return self._let_go(hurried_end(self._text)) if self._begun else None

    async def flush(self) -> Aggregation | None:
        """Return all that is collected."""
        self._first, self._begun = None, False
        return await super().flush()

    async def handle_interruption(self) -> None:
        """Forget all."""
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
        """Whether what is collected is a sentence, whatever follows."""
        text = self._text
        if not _ENDING.search(text) or not _OPEN.isdisjoint(text):
            return False
        end = match_endofsentence(text + _LIKELIER_PART, language=self.language)
        return end == len(text)

    def take_back(self, characters: int) -> None:
        """Forget the last characters, as far as they are not part of a sentence already."""
        self._collect(self._text[: max(0, len(self._text) - characters)])

    def _collect(self, text: str) -> None:
        """Have this, and nothing else, waited with."""
        self._text = text
        pending = text.rstrip()[-1:] in SENTENCE_ENDING_PUNCTUATION and bool(text)
        state = type(self._lookahead_state)
        self._lookahead_state = state.AWAITING_CHARACTER if pending else state.IDLE
