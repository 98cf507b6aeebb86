"""A stock Pipecat bot: `python examples/stock_bot.py -t twilio -x YOUR-HOST`."""

from os import environ as keys

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators import llm_response_universal as universal
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.runner.run import main
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams
from pipecat.workers.runner import WorkerRunner

PHONE = {"twilio": lambda: FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)}
VOICE = CartesiaTTSService.Settings(voice="e07c00bc-4134-4eae-9ea4-1a55fb45746b")


def at(account: str) -> dict[str, str]:
    """Return an account's key and, if `ACCOUNT_BASE_URL` is set, its address."""
    key, address = (keys.get(f"{account.upper()}_{item}") for item in ("API_KEY", "BASE_URL"))
    place = "url" if account in ("cartesia", "elevenlabs") else "base_url"
    return {"api_key": key or "", **({place: address} if address else {})}


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call."""
    transport = await create_transport(runner_args, PHONE)
    stt = DeepgramSTTService(**at("deepgram"))
    llm = OpenAILLMService(**at("openai"))
    tts = CartesiaTTSService(**at("cartesia"), settings=VOICE)
    user = universal.LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    agg = universal.LLMContextAggregatorPair(LLMContext(), user_params=user)
    stages = [stt, agg.user(), llm, tts]
    pipeline = Pipeline([transport.input(), *stages, transport.output(), agg.assistant()])
    params = PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000)
    worker = PipelineWorker(pipeline, params=params)

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: object) -> None:
        await worker.cancel()

    await worker.queue_frame(TTSSpeakFrame("Hello, how can I help?"))
    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    main()
