"""A conversation without audio devices: our processors, a scripted model, a fake voice and line."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    LLMMessagesAppendFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.workers.runner import WorkerRunner

from bot.call.conversation import make_pair, room_tokens, turn_stop
from bot.call.models import VoiceModels
from bot.tools.built_in import Tools
from bot.tools.caller_requests import CallerRequests, Unkept
from calls.events import Event
from calls.line import CallerLine
from configuration.agent import AgentSettings, system_text
from configuration.settings import TurnSettings
from processors.answering.context_window import ContextWindow, Memory
from processors.holding.farewell import Farewell
from processors.holding.hold_line import AnsweredFrame
from processors.holding.silence_rules import CallLength, Silence
from processors.turn.detector import TurnJudges
from processors.turn.floor import Floor
from tests.kit.line import PlayedLine, length_s
from tests.kit.served import served
from tests.kit.waiting import until
from tests.processors.holding.hold_bench import prompting_line

RATE_HZ = 8_000
WORD_S = 0.02  # speech runs fifteen times faster than a person


def says(*words: str, calls: Sequence[tuple[str, dict[str, Any]]] = ()) -> list[dict[str, Any]]:
    """Return the deltas of one answer: words, then tool calls."""
    tools = [
        {"index": at, "id": f"c{at}-{time.monotonic_ns()}", "type": "function", "function": made}
        for at, made in enumerate({"name": n, "arguments": json.dumps(a)} for n, a in calls)
    ]
    return [*({"content": word} for word in words), *({"tool_calls": [tool]} for tool in tools)]


class Model:
    """Answers chat completions from a list, over a real socket."""

    def __init__(self, answers: Sequence[list[dict[str, Any]]]) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.summary = "They said hello."
        self.turns = 0  # of the caller

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.requests.append(asked)
        if not asked.get("stream"):
            message = {"role": "assistant", "content": self.summary}
            return web.json_response(_completion("chat.completion", message=message))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for delta in self.answers.pop(0) if self.answers else []:
            chunk = json.dumps(_completion("chat.completion.chunk", delta=delta))
            await response.write(f"data: {chunk}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


def _completion(kind: str, **choice: Any) -> dict[str, Any]:
    choices = [{"index": 0, "finish_reason": None, **choice}]
    return {"id": "1", "object": kind, "created": 1, "model": "scripted", "choices": choices}


class Voice(TTSService):
    """Speaks each sentence as noise, in one piece, and adds its text to the context."""

    def __init__(self, line: CallerLine) -> None:
        super().__init__(
            sample_rate=RATE_HZ,
            push_stop_frames=True,
            push_start_frame=True,
            stop_frame_timeout_s=0.05,
            settings=TTSSettings(model="noise", voice="noise", language=None),
        )
        self.said: list[str] = []
        self._line = line

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        self.said.append(text)
        samples = int(RATE_HZ * WORD_S * len(text.split()))
        self._line.add(samples / RATE_HZ, time.monotonic())
        yield TTSAudioRawFrame(b"\x01\x10" * samples, RATE_HZ, 1, context_id=context_id)


class Ear(PlayedLine):
    """A line that knows how much of it was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_s = 0.0

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        played = await super().write_audio_frame(frame)
        self.heard_s += length_s(frame)
        return played


@dataclass(kw_only=True)
class Talk:
    """A running conversation, driven by text."""

    worker: PipelineWorker
    model: Model
    voice: Voice
    ear: Ear
    context: LLMContext
    floor: Floor
    told: list[Event] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, text: str) -> None:
        """Let the caller say something."""
        self.model.turns += 1
        message: LLMContextMessage = {"role": "user", "content": text}
        await self.worker.queue_frame(LLMMessagesAppendFrame(messages=[message], run_llm=True))

    async def until(self, true: Callable[[], object], *, within_s: float = 20.0) -> None:
        """Wait until `true()` holds."""
        await until(true, within_s=within_s)

    def remembered(self, role: str) -> list[str]:
        """Return the texts of one side of the context."""
        return [str(m.get("content")) for m in self.context.messages if m.get("role") == role]  # pyright: ignore[reportAttributeAccessIssue]


@asynccontextmanager
async def talking(
    agent: AgentSettings,
    *answers: list[dict[str, Any]],
    models: VoiceModels,
    desk: CallerRequests | None = None,
) -> AsyncIterator[Talk]:
    """Run a conversation of our processors with a model that gives these answers.

    Without a `desk`, there is no number for callbacks.
    """
    model, told = Model(answers), []
    tools = Tools(
        agent,
        callbacks=desk or NoCallbacks(),
        turn=lambda: max(1, model.turns),
        emit=told.append,
        clock=time.monotonic,
    )
    async with _served(model) as url:
        settings = OpenAILLMService.Settings(system_instruction=system_text(agent))
        llm = OpenAILLMService(api_key="k", base_url=url, settings=settings)
        talk = _talk(agent, llm, model=model, told=told, tools=tools, models=models)
        try:
            async with asyncio.timeout(60.0), asyncio.TaskGroup() as tasks:
                tasks.create_task(_run(talk))
                yield talk
                if not talk.finished.is_set():
                    await talk.worker.queue_frame(EndFrame())
        finally:
            await tools.close()
            await llm._client.close()


class NoCallbacks:
    """Refuses every callback for lack of a number."""

    def callback_number(self, said: str = "") -> str | Unkept:
        del said
        return Unkept.NO_NUMBER

    async def note_callback(self, reason: str, said: str = "") -> Unkept | None:
        del reason, said
        return Unkept.NO_NUMBER


def _talk(
    agent: AgentSettings,
    llm: OpenAILLMService,
    *,
    model: Model,
    told: list[Event],
    tools: Tools,
    models: VoiceModels,
) -> Talk:
    context, turn, judges = (
        Memory(heard_s=lambda: 0.0),
        TurnSettings(),
        TurnJudges(clock=time.monotonic),
    )
    vad = models.vad(turn)
    detector = models.turn_detector(
        turn, vad, judges=judges, clock=time.monotonic, emit=told.append
    )
    pair = make_pair(
        agent, turn, memory=context, vad=vad, stop=turn_stop(detector), emit=told.append
    )
    context.set_tools(ToolsSchema(standard_tools=list(tools.schemas)))
    line = CallerLine()
    floor, voice, ear = Floor(line), Voice(line), Ear()
    farewell = Farewell(floor, clock=time.monotonic)
    above, below = (ContextWindow(limit_tokens=room_tokens(agent), emit=told.append) for _ in "12")
    rules = agent.silence
    silence = Silence(
        floor,
        prompt_after_s=rules.prompt_after_s,
        prompts=rules.prompts,
        goodbye=rules.goodbye,
    )
    length = CallLength(max_call_s=agent.max_call_s, words=agent.farewell)
    hold = prompting_line(silence, length, farewell=farewell, line=line, floor=floor, told=told)
    order = [pair.user(), above, llm, below, farewell, voice, hold, ear, pair.assistant()]
    worker = PipelineWorker(
        Pipeline(order),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
        cancel_on_idle_timeout=False,
    )
    return Talk(
        worker=worker,
        model=model,
        voice=voice,
        ear=ear,
        context=context,
        floor=floor,
        told=told,
    )


async def _run(talk: Talk) -> None:
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(talk.worker)
    await talk.worker.queue_frame(AnsweredFrame())
    await runner.run()
    talk.finished.set()


@asynccontextmanager
async def _served(model: Model) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.answer)
    async with served(app) as url:
        yield f"{url}/v1"
