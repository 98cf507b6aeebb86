"""Serves a developer's own Pipecat bot to the drill's callers.

`python -m lab.drill.bot_server --bot mybot.py --config holdline.yaml` imports the file, and calls
its `bot(runner_arguments)` for each call, as Pipecat's runner does. Calls arrive over Twilio's
protocol. The bot finds the lab's providers in its environment: `OPENAI_API_KEY` and
`OPENAI_BASE_URL`, and the same for `OPENAI_B`, `DEEPGRAM`, `DEEPGRAM_B`, `CARTESIA` and
`ELEVENLABS`. `/raised` returns the error that `bot()` raised last, as one line.
"""

import argparse
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final
from xml.sax.saxutils import quoteattr

import uvicorn
from fastapi import FastAPI, Response, WebSocket
from pipecat.runner.types import WebSocketRunnerArguments
from pipecat.serializers.twilio import TwilioFrameSerializer

from bot.programs.guard import guard
from configuration.loading import load
from configuration.settings import Settings
from lab.drill.servers import CHARACTERS
from runtime.exits import UsageError

STOP_S: Final = 3  # for calls in progress
IN_PACKAGE: Final = (__package__ or "").count(".") > 1  # ours cannot hide a bot's modules then


def serve_bot() -> None:
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
    """Return a file as a module; modules in its folder can be imported.

    Raises:
        UsageError: It cannot be imported, or has no `async def bot(...)`.
    """
    sys.path.insert(0 if IN_PACKAGE else len(sys.path), str(file.parent))
    spec = importlib.util.spec_from_file_location("drilled_bot", file)
    assert spec  # noqa: S101 - the file exists, and its name ends in `.py`
    assert spec.loader  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raise UsageError(f"{file.name} cannot be imported: {one_line(error, file)}") from error
    if not inspect.iscoroutinefunction(getattr(module, "bot", None)):
        raise UsageError(f"{file.name} has no `async def bot(runner_arguments)` at its top level")
    return module


def one_line(error: BaseException, file: Path) -> str:
    """Return an error, and the last line of a file that it came through, as one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    place = f" (line {lines[-1]})" if lines else ""
    text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:CHARACTERS] + place


def application(settings: Settings, module: ModuleType) -> FastAPI:
    """Return the web application: Twilio's webhook and media socket, readiness, the last error.

    In the whole process, Pipecat's serializer no longer hangs up through Twilio's API.
    """
    app = FastAPI()
    file = Path(str(module.__file__))
    app.state.raised = ""
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
        """Let the bot serve a call; keep the error that it raises for `/raised`."""
        await socket.accept()
        try:
            await module.bot(WebSocketRunnerArguments(websocket=socket))
        except (Exception, SystemExit) as error:
            app.state.raised = f"bot() raised {one_line(error, file)}"
            raise

    @app.get("/raised")
    async def raised() -> str:
        return app.state.raised

    return app


async def _no_hang_up(self: TwilioFrameSerializer) -> None:
    """Do nothing: the simulated carrier ends the call with its socket."""
    del self


if __name__ == "__main__":
    sys.exit(guard(serve_bot))
