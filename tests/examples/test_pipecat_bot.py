"""The example of a stock Pipecat bot with ladders, called over Twilio's protocol."""

import asyncio
import difflib
import importlib.util
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from xml.sax.saxutils import quoteattr

import pytest
import uvicorn
from fastapi import FastAPI, Response, WebSocket
from pipecat.runner.types import WebSocketRunnerArguments
from pipecat.serializers.twilio import TwilioFrameSerializer

from bot.server.server import bind_socket
from lab.callers import RATE_HZ, caller_says
from lab.control import LabControl
from lab.drill.evidence import sent_between
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.drill.rows import HAIRCUT
from lab.simulators import faults
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab
from lab.simulators.receptionist.phrases import price
from lab.simulators.schedule import Window
from tests.kit.near import running, steady_lab, url_of
from tests.kit.waiting import until

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "pipecat_bot.py"
ROWS: dict[str, tuple[str, Fault | None]] = {
    "healthy": ("cartesia", None),
    "tts-cut-4": ("cartesia", faults.Cut(after_words=4)),
    "llm-cut-4": ("openai", faults.Cut(after_words=4)),
    "stt-dead": ("deepgram", faults.Refuse()),
}


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with steady_lab(keep_audio=True) as lab:
        yield lab


@pytest.fixture
def example(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the example, with the lab's keys and addresses in its environment."""
    spec = importlib.util.spec_from_file_location("pipecat_bot", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for peer in lab.instances.values():
        account = peer.name.upper().replace("-", "_")
        monkeypatch.setenv(f"{account}_API_KEY", peer.api_key)
        monkeypatch.setenv(f"{account}_BASE_URL", peer.url)

    async def no_hang_up(_: object) -> None:
        """Ask nothing of Twilio's API."""

    monkeypatch.setattr(TwilioFrameSerializer, "_hang_up_call", no_hang_up)
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC0")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "token")
    return module


@asynccontextmanager
async def serving(module: ModuleType, listener: socket.socket) -> AsyncIterator[str]:
    """Serve the bot as Pipecat's runner does, at the routes that the carrier knows."""
    app, url = FastAPI(), url_of(listener)

    @app.post("/twilio/voice")
    async def voice() -> Response:
        stream = f"<Connect><Stream url={quoteattr(url.replace('http', 'ws') + '/ws')}/></Connect>"
        return Response(f"<Response>{stream}</Response>", media_type="application/xml")

    @app.websocket("/ws")
    async def media(socket: WebSocket) -> None:
        await socket.accept()
        await module.bot(WebSocketRunnerArguments(websocket=socket))

    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve([listener]))
        await until(lambda: server.started)
        yield url
        server.should_exit = True


async def judged(call: Carrier, lab: Lab, answer: str, *, began_s: float) -> ReplyVerdict:
    since_s = call.started_at + began_s - lab.describe()["started_at_s"]
    async with LabControl(running(lab)) as control:
        sent = await sent_between(control, since_s, float("inf"))
    recording = call.heard()[round(began_s * RATE_HZ) :]
    return judge(recording, sent, said=ExpectedWords(text=answer), stop_s=0.0)


@pytest.mark.parametrize("row", ROWS)
async def test_the_example_answers_a_telephone_whole(
    lab: Lab, example: ModuleType, row: str
) -> None:
    name, fault = ROWS[row]
    listener = bind_socket("127.0.0.1", 0)
    async with serving(example, listener) as url, Carrier(url, "token") as call:
        await asyncio.sleep(2.0)
        lab.instance(name).set_faults([Window(fault=fault)] if fault else [])
        began_s = call.now_s
        await call.say(caller_says(HAIRCUT))
        await call.listen(quiet_s=2.0, within_s=30)
        verdict = await judged(call, lab, price("haircut"), began_s=began_s)

    assert verdict.whole, (verdict.missing, verdict.extra)


def test_the_example_differs_from_the_stock_bot_by_six_lines() -> None:
    stock = EXAMPLE.with_name("stock_bot.py").read_text(encoding="utf-8").splitlines()
    changed = difflib.ndiff(stock, EXAMPLE.read_text(encoding="utf-8").splitlines())
    added = [line[2:] for line in changed if line.startswith("+ ") and line[2:].strip()]

    assert len([line for line in added if '"""' not in line]) <= 6
    assert max(map(len, (stock, EXAMPLE.read_text(encoding="utf-8").splitlines()))) <= 60
