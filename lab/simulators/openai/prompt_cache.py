"""The part of a prompt that was sent before: accounts are charged less for it."""

import collections
from typing import Final

from lab.simulators.openai.request import CHARS_PER_TOKEN, ChatRequest

CACHED_PROMPTS: Final = 8  # chosen: calls at once, each with its own prompt
CACHE_FROM_TOKENS: Final = 1024  # platform.openai.com/docs/guides/prompt-caching
CACHE_STEP_TOKENS: Final = 128  # the same page: it grows in such steps


class PromptCache:
    """The latest prompts."""

    def __init__(self) -> None:
        self._prompts: collections.deque[str] = collections.deque(maxlen=CACHED_PROMPTS)

    def add(self, chat: ChatRequest) -> int:
        """Store a prompt; return how many of its first tokens an earlier one shared."""
        prompt = chat.prompt
        shared = max((_shared(prompt, text) for text in self._prompts), default=0)
        self._prompts.append(prompt)
        tokens = min(shared // CHARS_PER_TOKEN, chat.prompt_tokens)
        return tokens // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS if tokens >= CACHE_FROM_TOKENS else 0


def _shared(one: str, other: str) -> int:
    """Return the length of two texts' common beginning, in characters."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
