"""Collects a model's words into sentences, and lets go of half a word again."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import DataFrame
from pipecat.utils.string import SENTENCE_ENDING_PUNCTUATION, match_endofsentence
from pipecat.utils.text.base_text_aggregator import Aggregation
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

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
    change their mind, the sentence is let go without it: one word of the model sooner.
    """

    def __init__(self, *, language: Any = None) -> None:
        super().__init__(language=language)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Add a piece of text as the model sent it, and yield the sentences that it ends."""
        async for sentence in super().aggregate(text):
            yield sentence
        if self._ended and (sentence := await self.flush()):
            yield sentence

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
        kept = max(0, len(self._text) - characters)
        self._text = self._text[:kept]
        pending = self._text.rstrip()[-1:] in SENTENCE_ENDING_PUNCTUATION and bool(self._text)
        state = type(self._lookahead_state)
        self._lookahead_state = state.AWAITING_CHARACTER if pending else state.IDLE
