"""A stock Pipecat bot with ladders: `python examples/pipecat_bot.py -t twilio -x YOUR-HOST`."""

from os import environ as keys

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams
from pipecat.workers.runner import WorkerRunner

from holdline import Ladders, rung

PHONE = {"twilio": lambda: FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)}
RESCUE = "We have a technical problem. Please stay on the line."


def _at(service: type, account: str):
    return rung(service, api_key=keys[f"{account}_API_KEY"], url=keys.get(f"{account}_BASE_URL"))


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call."""
    transport = await create_transport(runner_args, PHONE)
    stt = [_at(DeepgramSTTService, "DEEPGRAM"), _at(DeepgramSTTService, "DEEPGRAM_B")]
    llm = [_at(OpenAILLMService, "OPENAI"), _at(OpenAILLMService, "OPENAI_B")]
    tts = [_at(CartesiaTTSService, "CARTESIA"), _at(ElevenLabsTTSService, "ELEVENLABS")]
    call = Ladders(stt=stt, llm=llm, tts=tts, rescue=RESCUE)
    user = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    agg = LLMContextAggregatorPair(LLMContext(), user_params=user)
    stages = [call.stt, agg.user(), call.llm, call.tts]
    pipeline = Pipeline([transport.input(), *stages, transport.output(), agg.assistant()])
    params = PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000)
    worker = PipelineWorker(pipeline, params=params)

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
