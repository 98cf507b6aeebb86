"""OpenAI: streaming chat completions, and whatever speaks the same protocol."""

from typing import Any, Final

import openai
from openai import AsyncOpenAI
from pipecat.services.openai.llm import OpenAILLMService

from providers.http_probe import ask
from providers.provider import Rung

MODEL: Final = "gpt-4.1-mini"
CONNECT_S: Final = 1.0  # a handshake that takes longer eats a budget of 1.5 s whole


class OneTryOpenAI(OpenAILLMService):
    """Pipecat's service without the SDK's two hidden retries and its 600 s read time-out."""

    def __init__(self, *, timeout_s: float, **kwargs: Any) -> None:
        self._timeout_s = timeout_s
        super().__init__(**kwargs)

    def create_client(self, *args: Any, **kwargs: Any) -> AsyncOpenAI:
        """Return the client that asks once and gives up in time."""
        client: AsyncOpenAI = super().create_client(*args, **kwargs)
        return client.with_options(
            max_retries=0, timeout=openai.Timeout(self._timeout_s, connect=CONNECT_S)
        )

    async def cleanup(self) -> None:
        """Close the client's sockets too; Pipecat leaves them to the garbage collector."""
        await super().cleanup()
        await self._client.close()


def build(rung: Rung) -> OpenAILLMService:
    """Return a language model that streams from this rung."""
    return OneTryOpenAI(
        timeout_s=rung.timeout_s,
        api_key=rung.api_key,
        base_url=rung.url,
        settings=OpenAILLMService.Settings(
            model=rung.model or MODEL,
            system_instruction=rung.instructions or None,
            **rung.options,
        ),
    )


async def probe(rung: Rung, *, timeout_s: float) -> None:
    """List the models: authenticated, free, no tokens."""
    await ask(
        f"{rung.url.rstrip('/')}/models",
        headers={"Authorization": f"Bearer {rung.api_key}"},
        timeout_s=timeout_s,
    )
