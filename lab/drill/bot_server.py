"""Serves a developer's own Pipecat bot to the drill's callers.

`python -m lab.drill.bot_server --bot mybot.py --config holdline.yaml` imports the file, and calls
its `bot(runner_arguments)` for each call, as Pipecat's runner does. Calls arrive over Twilio's
protocol. The bot finds the lab's providers in its environment: `OPENAI_API_KEY` and
`OPENAI_BASE_URL`, and the same for `OPENAI_B`, `DEEPGRAM`, `DEEPGRAM_B`, `CARTESIA` and
`ELEVENLABS`.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final
from xml.sax.saxutils import quoteattr

import uvicorn
from fastapi import FastAPI, Response, WebSocket
from pipecat.runner.types import WebSocketRunnerArguments
from pipecat.serializers.twilio import TwilioFrameSerializer

from configuration.loading import load
from configuration.settings import Settings

STOP_S: Final = 3  # for calls in progress


def main() -> None:
    """Answer calls until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bot", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    settings = load(options.config).settings
    uvicorn.run(
        application(settings, bot_module(options.bot)),
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=STOP_S,
    )


def bot_module(file: Path) -> ModuleType:
    """Return a file as a module; modules in its folder can be imported."""
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location("drilled_bot", file)
    assert spec  # noqa: S101 - the file exists, and its name ends in `.py`
    assert spec.loader  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def application(settings: Settings, module: ModuleType) -> FastAPI:
    """Return the web application: Twilio's webhook, its media socket, and readiness."""
    app = FastAPI()
    address = f"{settings.server.public_url.replace('http', 'ws', 1)}/twilio/media"
    TwilioFrameSerializer._hang_up_call = _no_hang_up  # noqa: SLF001 - it would ask Twilio's own API

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
        await module.bot(WebSocketRunnerArguments(websocket=socket))

    return app


async def _no_hang_up(self: TwilioFrameSerializer) -> None:
    """Do nothing: the simulated carrier ends the call with its socket."""
    del self


if __name__ == "__main__":
    main()
