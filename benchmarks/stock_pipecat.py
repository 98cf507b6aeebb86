"""Stock Pipecat for comparison: its services with its own failover.

`python -m benchmarks.stock_pipecat --config holdline.yaml` answers calls on the same Twilio routes
and with the same configuration as `holdline serve`, so the drill's callers and judge treat both
servers alike. Nothing of ours is in the pipeline. The services are Pipecat's classes with their
usual settings. Each ladder is a `ServiceSwitcher` (`LLMSwitcher`) with the strategy
`ServiceSwitcherStrategyFailover`. The transport is Pipecat's FastAPI websocket with its Twilio
serializer. The VAD and turn models, and the sample rate, are those that Holdline uses.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import uvicorn
from fastapi import FastAPI, Response, WebSocket
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.llm_switcher import LLMSwitcher
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyFailover
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)
from pipecat.turns.user_start import TranscriptionUserTurnStartStrategy, VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from benchmarks.pipecats_detector import pipecats_detector
from bot.call.models import VoiceModels
from configuration.agent import system_text
from configuration.loading import load
from configuration.settings import Settings
from configuration.stages import RungSettings
from operations.telemetry import logs

RATE_HZ: Final = 8000
DEEPGRAM_MODEL: Final = "nova-3"
OPENAI_MODEL: Final = "gpt-4.1-mini"
CARTESIA: Final = ("sonic-3", "e07c00bc-4134-4eae-9ea4-1a55fb45746b")  # Brooke
ELEVENLABS: Final = ("eleven_flash_v2_5", "21m00Tcm4TlvDq8ikWAM")  # Rachel


def main() -> None:
    """Answer calls until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    settings = load(parser.parse_args().config).settings
    logs.set_up(level=settings.logs.level, folder=settings.logs.dir)
    uvicorn.run(
        application(settings, VoiceModels.load()),
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
    )


def application(settings: Settings, models: VoiceModels) -> FastAPI:
    """Return the web application: Twilio's webhook, its media socket, and readiness."""
    app = FastAPI()
    address = f"{settings.server.public_url.replace('http', 'ws', 1)}/twilio/media"

    @app.get("/readyz")
    async def readyz() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/twilio/voice")
    async def voice() -> Response:
        stream = f"<Connect><Stream url={quoteattr(address)}/></Connect>"
        return Response(f"<Response>{stream}</Response>", media_type="application/xml")

    @app.websocket("/twilio/media")
    async def media(socket: WebSocket) -> None:
        await socket.accept()
        _, call = await parse_telephony_websocket(socket)
        await answer(socket, settings, models, stream_sid=str(call["stream_id"]))

    return app


async def answer(
    socket: WebSocket, settings: Settings, models: VoiceModels, *, stream_sid: str
) -> None:
    """Run one call until it ends."""
    transport = FastAPIWebsocketTransport(
        websocket=socket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            serializer=TwilioFrameSerializer(
                stream_sid=stream_sid,
                params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
            ),
        ),
    )
    worker = worker_for(settings, models, transport)

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def worker_for(
    settings: Settings, models: VoiceModels, transport: FastAPIWebsocketTransport
) -> PipelineWorker:
    """Return the plain pipeline with its three switchers."""
    stt, llm, tts = switchers(settings)
    turn = settings.turn
    detector = pipecats_detector(models, turn)
    pair = LLMContextAggregatorPair(
        LLMContext(messages=[]),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=models.vad(turn),
            user_turn_strategies=UserTurnStrategies(
                start=[VADUserTurnStartStrategy(), TranscriptionUserTurnStartStrategy()],
                stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=detector)],
            ),
            user_turn_stop_timeout=turn.user_turn_stop_timeout_s,
        ),
    )
    worker = PipelineWorker(
        Pipeline(
            [
                transport.input(),
                stt,
                pair.user(),
                llm,
                tts,
                transport.output(),
                pair.assistant(),
            ]
        ),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_client_connected")
    async def greet(*_: object) -> None:
        await worker.queue_frames([TTSSpeakFrame(settings.agent.greeting)])

    return worker


def switchers(settings: Settings) -> tuple[ServiceSwitcher[Any], LLMSwitcher[Any], Any]:
    """Return Pipecat's failover over the rungs of each stage, in their order."""
    failover = ServiceSwitcherStrategyFailover
    stages = settings.stages
    return (
        ServiceSwitcher(_services(stages.stt, settings), strategy_type=failover),
        LLMSwitcher(_services(stages.llm, settings), strategy_type=failover),
        ServiceSwitcher(_services(stages.tts, settings), strategy_type=failover),
    )


def _services(rungs: Sequence[RungSettings], settings: Settings) -> list[Any]:
    return [_BUILD[rung.kind](rung, settings) for rung in rungs if rung.kind in _BUILD]


def _key(rung: RungSettings) -> str:
    return rung.api_key.get_secret_value() if rung.api_key else ""


def _deepgram(rung: RungSettings, settings: Settings) -> DeepgramSTTService:
    return DeepgramSTTService(
        api_key=_key(rung),
        base_url=rung.url,
        sample_rate=RATE_HZ,
        settings=DeepgramSTTService.Settings(
            model=rung.model or DEEPGRAM_MODEL,
            language=settings.agent.language,
            interim_results=True,
            smart_format=False,
        ),
    )


def _openai(rung: RungSettings, settings: Settings) -> OpenAILLMService:
    return OpenAILLMService(
        api_key=_key(rung),
        base_url=rung.url,
        settings=OpenAILLMService.Settings(
            model=rung.model or OPENAI_MODEL, system_instruction=system_text(settings.agent)
        ),
    )


def _cartesia(rung: RungSettings, settings: Settings) -> CartesiaTTSService:
    model, voice = CARTESIA
    return CartesiaTTSService(
        api_key=_key(rung),
        url=rung.url,
        sample_rate=RATE_HZ,
        settings=CartesiaTTSService.Settings(
            model=rung.model or model,
            voice=rung.voice or voice,
            language=settings.agent.language,
        ),
    )


def _elevenlabs(rung: RungSettings, settings: Settings) -> ElevenLabsTTSService:
    model, voice = ELEVENLABS
    return ElevenLabsTTSService(
        api_key=_key(rung),
        url=rung.url.rstrip("/"),
        sample_rate=RATE_HZ,
        settings=ElevenLabsTTSService.Settings(
            model=rung.model or model,
            voice=rung.voice or voice,
            language=settings.agent.language,
        ),
    )


_BUILD: Final[Mapping[str, Callable[[RungSettings, Settings], Any]]] = {
    "deepgram": _deepgram,
    "openai": _openai,
    "cartesia": _cartesia,
    "elevenlabs": _elevenlabs,
}


if __name__ == "__main__":
    main()
