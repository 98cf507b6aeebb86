"""Models as an owner writes them, for tests of the adapter."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService

HERE = __name__


class OwnModel(LLMService):
    """A model with a protocol of its own: lines of JSON with text or the reason of the end."""

    def __init__(self, *, endpoint: str, token: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._endpoint, self._token = endpoint, token

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        try:
            await self.answer(frame.context)
        except Exception as error:  # noqa: BLE001 - as Pipecat's own services do
            await self.push_error(f"it failed: {error}", exception=error)
        await self.push_frame(LLMFullResponseEndFrame())

    async def answer(self, context: LLMContext) -> None:
        async for line in self.lines(context):
            if "text" in line:
                await self._push_llm_text(line["text"])
            self._handle_finish_reason(line.get("why"))

    async def lines(self, context: LLMContext) -> AsyncIterator[Any]:
        asked = {"messages": context.messages}
        headers = {"token": self._token}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._endpoint, json=asked, headers=headers) as response,
        ):
            response.raise_for_status()
            async for line in response.content:
                yield json.loads(line)

    def _handle_finish_reason(self, why: str | None) -> None:
        """Note why the answer ended, as Google's service does."""


class Scripted(LLMService):
    """A model that does what its setting says, without a server."""

    def __init__(self, *, script: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.script = script
        self.cancelled = 0
        self.released = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            await getattr(self, self.script)(frame.context)

    async def say(self, text: Any) -> None:
        await self.push_frame(LLMTextFrame(text))

    async def whole(self, _: LLMContext) -> None:
        await self.say("We open ")
        await self.say("at nine.")
        await self.start_llm_usage_metrics(
            LLMTokenUsage(
                prompt_tokens=10,
                completion_tokens=5,
                total_tokens=115,
                cache_read_input_tokens=100,
            )
        )

    async def times_out_silently(self, _: LLMContext) -> None:
        await self._call_event_handler("on_completion_timeout")

    async def writes_numbers(self, _: LLMContext) -> None:
        await self.say(42)

    async def raises(self, _: LLMContext) -> None:
        raise KeyError("a bug of its owner's")

    async def exits(self, _: LLMContext) -> None:
        raise SystemExit(1)

    async def cancels_itself(self, _: LLMContext) -> None:
        raise asyncio.CancelledError

    async def swallows_cancellation(self, _: LLMContext) -> None:
        await self.say("We open at ")
        while not self.released:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                self.cancelled += 1

    async def speaks_after_cancellation(self, _: LLMContext) -> None:
        try:
            await self.say("We open at ")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            while True:
                await self.say("ten.")

    async def calls_two_tools(self, context: LLMContext) -> None:
        names = ("price", "hours")
        await self.run_function_calls(
            [
                FunctionCallFromLLM(
                    context=context,
                    tool_call_id=f"id-{name}",
                    function_name=name,
                    arguments={"of": name},
                )
                for name in names
            ]
        )

    async def converses(self, _: LLMContext) -> None:
        response = await self._create_converse_stream()
        async for event in response["stream"]:
            if "text" in event:
                await self.say(event["text"])

    async def _create_converse_stream(self) -> dict[str, Any]:
        async def stream() -> AsyncIterator[dict[str, Any]]:
            yield {"text": "We open at nine."}
            yield {"messageStop": {"stopReason": "guardrail_intervened"}}

        return {"stream": stream()}

    async def is_refused(self, _: LLMContext) -> None:
        await self.push_error("Unknown error: the server answered with status 401")

    async def is_overloaded(self, _: LLMContext) -> None:
        await self.say("We open at nine.")
        await self.push_error("Unknown error: the server answered with status 503")
