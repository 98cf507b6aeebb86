"""Corrects what the model is told that the agent said."""

import functools
from collections.abc import Sequence
from typing import Any

from fallbacks.word_times import sayable
from processors.speaking.captions import join_speech


def without_words(said: str, messages: list[Any]) -> list[Any]:
    """Return a conversation without its last message, if that is the beginning of what was said."""
    last: Any = messages[-1] if messages else {}
    content = last.get("content") if isinstance(last, dict) and last["role"] == "assistant" else ""
    heard = [sayable(word) for word in str(content or "").split()]
    is_said = [sayable(word) for word in said.split()][: len(heard)] == heard
    return messages[:-1] if heard and is_said else messages


def as_heard(
    words: Sequence[tuple[str, bool]], heard: int | None, messages: list[Any]
) -> list[Any]:
    """Return a conversation whose last message ends with the words of an utterance that were heard.

    Args:
        words: The words of the utterance, and whether each has its own spaces.
        heard: How many of them were heard; `None` if the estimate holds.
        messages: The conversation; it has as many of the words as were estimated to be heard.
    """
    last: Any = messages[-1] if messages else {}
    is_agent = isinstance(last, dict) and last.get("role") == "assistant"
    told = last.get("content") if is_agent else ""
    if heard is None or not isinstance(told, str):
        return messages
    texts = [_text_of(words[:count]) for count in range(len(words) + 1)]
    common = next(text for text in reversed(texts) if told.endswith(text))
    said = join_speech(told.removesuffix(common), texts[heard], spaced=words[0][1])
    if not is_agent:
        return [*messages, {"role": "assistant", "content": said}] if said else messages
    return [*messages[:-1], *([{**last, "content": said}] if said else [])]


def _text_of(words: Sequence[tuple[str, bool]]) -> str:
    """Return words as one text; each comes with whether it has its own spaces."""
    return functools.reduce(
        lambda text, word: join_speech(text, word[0], spaced=word[1]), words, ""
    )
