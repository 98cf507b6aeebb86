"""Collects a model's words into sentences, and lets go of half a word again."""

from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import DataFrame
from pipecat.utils.string import SENTENCE_ENDING_PUNCTUATION
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator


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
    """Pipecat's own rules of where a sentence ends, over text that can be taken back."""

    def __init__(self, *, language: Any = None) -> None:
        super().__init__(language=language)

    def take_back(self, characters: int) -> None:
        """Forget the last characters, as far as they are not part of a sentence already."""
        kept = max(0, len(self._text) - characters)
        self._text = self._text[:kept]
        pending = self._text.rstrip()[-1:] in SENTENCE_ENDING_PUNCTUATION and bool(self._text)
        state = type(self._lookahead_state)
        self._lookahead_state = state.AWAITING_CHARACTER if pending else state.IDLE
