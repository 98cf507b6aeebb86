"""Our overrides of Pipecat's voices: they still apply, and report what they should."""

import asyncio
import inspect
from typing import Any

import pytest
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService, WebsocketTTSService
from pipecat.services.websocket_service import WebsocketService
from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from fallbacks.failure import Failure, Kind
from lab.simulators import faults
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window
from providers import elevenlabs
from providers.catalog import provider
from providers.elevenlabs import timed_words
from providers.provider import RungSpec
from providers.tapped_voice import TappedVoice, VoiceContext
from tests.kit.bench import rung_spec, running
from tests.providers.test_elevenlabs import letters

pytestmark = pytest.mark.virtual_time

OVERRIDDEN = {
    (WebsocketService, "_websocket_connect"): ["self", "uri", "kwargs"],
    (CartesiaTTSService, "_connect_websocket"): ["self"],
    (ElevenLabsTTSService, "_connect_websocket"): ["self"],
    (CartesiaTTSService, "_disconnect_websocket"): ["self"],
    (ElevenLabsTTSService, "_disconnect_websocket"): ["self"],
    (WebsocketTTSService, "_disconnect"): ["self"],
    (WebsocketService, "_connect"): ["self"],
    (TTSService, "create_context_id"): ["self"],
    (TTSService, "on_turn_context_completed"): ["self"],
    (TTSService, "set_usable"): ["self", "is_usable"],
    (TTSService, "process_frame"): ["self", "frame", "direction"],
    (ClientConnection, "recv"): ["self", "decode"],
}


class Ear:
    """Records its events."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def sound(self, attempt: int, pcm: bytes) -> None:
        self.told.append((attempt, len(pcm)))

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        self.told.append((attempt, text, start_s, end_s))

    async def spoken(self, attempt: int, *, more: bool = False) -> None:
        self.told.append((attempt, "text") if more else attempt)

    async def failed(self, attempt: int, failure: Failure) -> None:
        self.told.append((attempt, failure))

    async def connecting(self) -> None:
        self.told.append("connecting")

    async def connected(self) -> None:
        self.told.append("connected")

    async def unreachable(self, failure: Failure) -> None:
        self.told.append(failure)

    async def lost(self, failure: Failure | None) -> None:
        self.told.append(failure)


def change(**settings: Any) -> TTSUpdateSettingsFrame:
    return TTSUpdateSettingsFrame(delta=TTSSettings(**settings))


def rung_at(peer: Instance) -> RungSpec:
    """Return a rung whose provider is a simulator."""
    return rung_spec("tts", peer.kind, peer.url, api_key=peer.api_key)


@pytest.mark.parametrize(("owner", "name"), OVERRIDDEN, ids=[name for _, name in OVERRIDDEN])
def test_pipecat_still_has_the_members_that_we_override(owner: type, name: str) -> None:
    parameters = inspect.signature(getattr(owner, name)).parameters

    assert list(parameters) == OVERRIDDEN[owner, name]


@pytest.mark.parametrize("name", ["_next", "_prev", "_setup", "_metrics", "_name"])
def test_none_of_our_attributes_is_one_of_pipecats(name: str) -> None:
    from processors.ladder.rung_pipeline import RungPipeline  # noqa: PLC0415 - guards that one as well

    assert name not in vars(RungPipeline)


@pytest.mark.parametrize("kind", ["cartesia", "elevenlabs"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, Kind.AUTH), (429, Kind.RATE_LIMITED)],
)
async def test_a_refused_upgrade_has_its_reason(kind: str, status: int, expected: Kind) -> None:
    async with Lab([Spec(name="it", kind=kind)]) as lab:
        peer = lab.instance("it")
        peer.set_faults([Window(fault=faults.Http(status=status, retry_after_s=7.0))])
        ear, service = Ear(), provider("tts", kind).build(rung_at(peer))
        service.listen(ear)  # type: ignore[attr-defined]
        async with running(service, rate_hz=8000) as bench:
            await bench.worker.cancel()

    asked, failure, *_ = ear.told
    assert asked == "connecting"
    assert (failure.kind, failure.provider, failure.stage) == (expected, "it", "tts")
    assert failure.retry_after_s == 7.0
    assert peer.api_key not in failure.reason


async def test_a_repeated_message_of_elevenlabs_does_not_shift_words() -> None:
    rung = rung_spec("tts", "elevenlabs", "ws://127.0.0.1:9")
    ear, service = Ear(), elevenlabs.build(rung)
    service.tap.context = VoiceContext("one", 1)
    for text in ("Hi ", "Hi ", "there", "there", " you"):
        await service.read_message(ear, letters("one", text))

    words = [told for told in ear.told if len(told) == 4]
    assert words == [
        (1, "Hi", 0.0, pytest.approx(0.02)),
        (1, "there", pytest.approx(0.03), pytest.approx(0.08)),
        (1, "you", pytest.approx(0.09), pytest.approx(0.12)),
    ]


def test_elevenlabs_letters_make_words_with_their_ends() -> None:
    alignment = {
        "chars": list("Hi there "),
        "charStartTimesMs": [0, 100, 200, 250, 300, 350, 400, 450, 500],
        "charDurationsMs": [100, 100, 50, 50, 50, 50, 50, 50, 50],
    }

    words = [word for word in timed_words(alignment) if word[0]]

    assert words == [("Hi", 0.0, 0.2), ("there", 0.25, 0.5)]


def test_elevenlabs_letters_of_a_script_without_spaces_have_a_time_each() -> None:
    alignment = {
        "chars": list("九点、好"),
        "charStartTimesMs": [0, 200, 400, 500],
        "charDurationsMs": [200, 200, 100, 200],
    }

    assert list(timed_words(alignment)) == [("九", 0.0, 0.2), ("点、", 0.2, 0.5), ("好", 0.5, 0.7)]


def sockets_opened(monkeypatch: pytest.MonkeyPatch) -> list[ClientConnection]:
    """Return a list of every socket that a voice opens from now on."""
    sockets: list[ClientConnection] = []
    connect = WebsocketService._websocket_connect

    async def noted(self: WebsocketService, uri: str, **kwargs: Any) -> ClientConnection:
        socket: ClientConnection = await connect(self, uri, **kwargs)
        sockets.append(socket)
        return socket

    monkeypatch.setattr(WebsocketService, "_websocket_connect", noted)
    return sockets


@pytest.mark.parametrize("kind", ["cartesia", "elevenlabs"])
@pytest.mark.parametrize("ticks", [2, 6, 10])
async def test_a_text_that_comes_while_the_voice_reconnects_is_heard_over_its_one_socket(
    kind: str, ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = sockets_opened(monkeypatch)
    async with Lab([Spec(name="it", kind=kind)]) as lab:
        peer = lab.instance("it")
        ear, service = Ear(), provider("tts", kind).build(rung_at(peer))
        assert isinstance(service, TappedVoice)
        service.listen(ear)
        async with running(service, rate_hz=8000) as bench:
            await asyncio.sleep(0.2)
            sockets[0].transport.abort()
            for _ in range(ticks):  # the voice's own reconnection is in progress
                await asyncio.sleep(0)
            context = service.create_context_id()
            async for _ in service.run_tts("Hello there. ", context):
                pass
            await service.flush_audio(context)
            await asyncio.sleep(3)
            opened = [socket for socket in sockets if socket.state is State.OPEN]
            heard = [told for told in ear.told if isinstance(told, tuple) and len(told) == 2]
            await bench.worker.cancel()

    assert len(opened) == 1
    assert [told for told in heard if isinstance(told[1], int)]
    assert ear.told.count("connected") == 2


@pytest.mark.parametrize("end", [InterruptionFrame, LLMFullResponseStartFrame])
@pytest.mark.parametrize("kind", ["cartesia", "elevenlabs"])
async def test_changes_of_settings_during_a_reply_are_all_applied_after_it(
    kind: str, end: type[Frame]
) -> None:
    async with Lab([Spec(name="it", kind=kind)]) as lab:
        service = provider("tts", kind).build(rung_at(lab.instance("it")))
        assert isinstance(service, TappedVoice)
        service.listen(Ear())
        async with running(service, rate_hz=8000) as bench:
            service.tap.context = VoiceContext("one", 1)
            await bench.put(change(language="es", voice="other"), change(voice="third"))
            await bench.put(change(language="de"))
            await asyncio.sleep(0.2)
            during = (service._settings.voice, str(service._settings.language))
            await bench.put(end())
            await asyncio.sleep(0.2)
            after = (service._settings.voice, str(service._settings.language))
            await bench.worker.cancel()

    assert "third" not in during
    assert after == ("third", "de")
