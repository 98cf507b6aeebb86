"""Deepgram's service under a stage, beyond the contract of every recogniser."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from deepgram.core.api_error import ApiError
from deepgram.core.unchecked_base_model import construct_type
from deepgram.listen.v1.socket_client import V1SocketClientResponse
from loguru import logger
from pipecat.frames.frames import (
    ErrorFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.services.deepgram.stt import DeepgramSTTService
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close
from websockets.utils import accept_key

from calls.transcript import Heard
from fallbacks.failure import Kind
from fallbacks.symptoms import Moment
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.deepgram.socket import StreamLimits
from providers.deepgram import CleanCloseError, DeepgramRung, build, rejection_of, stream_failure_of
from tests.kit.bench import Bench, rung_spec, running
from tests.kit.caller import frames_of
from tests.lab.simulators import synthetic_caller as caller

pytestmark = pytest.mark.virtual_time

RATE_HZ = 16_000
LIMITS = StreamLimits(intake_cap=None)


@asynccontextmanager
async def supervised(
    *, limits: StreamLimits = LIMITS, **changes: Any
) -> AsyncIterator[tuple[Bench, DeepgramRung, DeepgramSimulator]]:
    instance = DeepgramSimulator("it", limits=limits)
    await instance.start()
    try:
        service = build(
            rung_spec(
                "stt",
                "deepgram",
                instance.url,
                sample_rate_hz=RATE_HZ,
                api_key=instance.api_key,
                **changes,
            )
        )
        service.supervised = True
        async with running(service) as bench:
            yield bench, service, instance
    finally:
        await instance.stop()


async def test_a_complaint_about_our_message_is_logged_once_a_connection_and_ends_nothing() -> None:
    lines = list[str]()
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    async with supervised() as (bench, service, instance):
        for _ in range(2):
            for _ in range(2):
                assert service._connection
                await service._connection._websocket.send('{"type": "Sing", "for": "Schmidt"}')
            await asyncio.sleep(2.0)
            assert service.connected
            await service.reconnect()
    logger.remove(sink)

    assert bench.all(ErrorFrame) == []
    said = "it: Deepgram rejected one of our messages and goes on: Error SchemaError"
    assert [line.strip() for line in lines] == [f"{said} (protocol)"] * 2
    assert instance.api_key not in str(lines)


async def test_audio_that_cannot_be_sent_does_not_hold_back_later_audio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(audio: bytes) -> None:
        raise RuntimeError("the client's state does not allow it")

    async with supervised() as (bench, service, _):
        with monkeypatch.context() as patched:
            patched.setattr(service._connection, "send_media", refuse)
            await bench.put(*frames_of(bytes(640), RATE_HZ))
            await bench.first(ErrorFrame)

        assert service.send_at_once(bytes(640))


def read_by_sdk(message: dict[str, Any]) -> Any:
    kinds: Any = V1SocketClientResponse
    return construct_type(type_=kinds, object_=message)


COMPLAINTS = [
    ({"type": "Error", "variant": "SchemaError", "message": "a name"}, "Error SchemaError"),
    ({"type": "Error", "variant": "I heard a name", "description": "a name"}, "Error"),
    ({"type": "ConfigureFailure", "code": "CONFIGURE_ALREADY_PENDING", "description": "a name"},
     "ConfigureFailure CONFIGURE_ALREADY_PENDING"),
    ({"type": "ConfigureFailure", "code": None}, "ConfigureFailure"),
    ({"type": "Error", "variant": ["odd"]}, "Error"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "said"), COMPLAINTS)
def test_a_complaint_is_logged_by_its_codes_without_words(
    message: dict[str, Any], said: str
) -> None:
    read = read_by_sdk(message)

    assert rejection_of(read) == f"{said} (protocol)"


@pytest.mark.parametrize("kind", ["Metadata", "SpeechStarted", "UtteranceEnd", "ConfigureSuccess"])
def test_other_messages_of_deepgram_are_not_complaints(kind: str) -> None:
    read = read_by_sdk({"type": kind})

    assert rejection_of(read) is None
    assert rejection_of(b"sound") is None


async def take_a_stream_and_go_dark(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Open a stream, and then send nothing, not even a close, as if the network were cut."""
    asked = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line for line in asked.splitlines() if line.lower().startswith("sec-websocket-key"))
    accepted = accept_key(key.partition(":")[2].strip())
    answer = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    writer.write("\r\n".join((*answer, f"Sec-WebSocket-Accept: {accepted}", "", "")).encode())


async def test_a_dead_stream_does_not_delay_a_new_one_by_its_close() -> None:
    streams: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append(writer)
        await take_a_stream_and_go_dark(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = rung_spec("stt", "deepgram", f"ws://127.0.0.1:{port}", sample_rate_hz=RATE_HZ)
    service = build(spec)
    service.supervised = True
    async with running(service) as bench:
        await bench.put(*frames_of(bytes(6400)))
        began = time.monotonic()

        assert await service.reconnect()

        took_s = time.monotonic() - began
        told = bench.all(ErrorFrame)
        for stream in streams:
            stream.transport.abort()
    server.close()

    assert (len(streams), told) == (2, [])
    assert took_s < 0.5


@pytest.mark.real_time  # how often the lab answers depends on how fast its recogniser works
async def test_silence_is_answered_by_frames_without_words() -> None:
    async with supervised() as (bench, _, _instance):
        await bench.put(*frames_of(caller.noise(1.5, rms=3)))
        sign = await bench.first(InterimTranscriptionFrame)

        assert sign.text == ""


async def test_a_standby_without_sound_is_not_closed_for_that() -> None:
    limits = StreamLimits(intake_cap=None, first_audio_s=0.2, idle_s=5.0)
    async with supervised(limits=limits) as (bench, service, _):
        await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)

        assert service.connected
        assert not bench.errors()


def test_a_refusals_text_is_kept_and_the_key_is_not() -> None:
    refusal = ConnectionError()
    refusal.headers = {"dg-error": "Invalid credentials.", "retry-after": "7"}  # type: ignore[attr-defined]
    error = ApiError(status_code=401, headers={"Authorization": "Token KEY"}, body="no")
    error.__context__ = refusal

    found = stream_failure_of(error, "it", moment=Moment.ASKED)

    assert (found.kind, found.permanent) == (Kind.AUTH, True)
    assert found.reason == "401 Invalid credentials."
    assert found.retry_after_s == 7.0


CLOSES = [
    (ConnectionClosedError(Close(1011, "NET-0001"), None), Kind.NETWORK, False),
    (ConnectionClosedError(Close(1011, "NET-0000"), None), Kind.OVERLOADED, False),
    (ConnectionClosedError(Close(1008, "DATA-0000"), None), Kind.PROTOCOL, True),
    (ConnectionClosedError(None, None), Kind.CUT, False),
    (CleanCloseError(1000), Kind.CUT, False),
    (TimeoutError(), Kind.TIMEOUT, False),
    (ConnectionRefusedError(), Kind.NETWORK, False),
    (None, Kind.CUT, False),
]


@pytest.mark.parametrize(("error", "kind", "permanent"), CLOSES, ids=[str(c[0]) for c in CLOSES])
def test_ends_are_classified(error: Exception | None, kind: Kind, permanent: bool) -> None:  # noqa: FBT001 - a column
    found = stream_failure_of(error, "it", moment=Moment.FLOWING)

    assert (found.kind, found.permanent, found.stage) == (kind, permanent, "stt")


@pytest.mark.parametrize(
    "name", ["_connection_handler", "_keepalive_handler", "_connect", "_disconnect"]
)
def test_pipecat_still_has_the_members_that_we_override_and_call(name: str) -> None:
    assert list(inspect.signature(getattr(DeepgramSTTService, name)).parameters) == ["self"]


def test_pipecats_service_still_keeps_the_fields_that_we_read() -> None:
    service = DeepgramSTTService(api_key="KEY", settings=DeepgramSTTService.Settings(model="m"))

    for name in ("_connection", "_connection_settled", "_client", "_finalize_pending", "_user_id"):
        assert hasattr(service, name)


@pytest.mark.real_time  # the ears are a process of their own
async def test_alternatives_come_with_their_confidence() -> None:
    async with supervised(model="enhanced", alternatives=3) as (bench, _, _instance):
        spoken = caller.silence(0.3) + caller.say("Yes, please.") + caller.silence(0.3)
        await bench.put(*frames_of(spoken))
        await bench.put(VADUserStartedSpeakingFrame(), VADUserStoppedSpeakingFrame())
        await bench.until(lambda: any(word.text for word in bench.all(TranscriptionFrame)))

    final = next(word for word in bench.all(TranscriptionFrame) if word.text)
    assert isinstance(final.result, Heard)
    sure, others = final.result.confidence, final.result.others
    assert sure is not None
    assert others
    assert all(other.confidence and 0 < other.confidence < sure for other in others)


async def test_a_model_without_alternatives_is_asked_again_without_them() -> None:
    async with supervised(model="nova-3", alternatives=3) as (bench, service, instance):
        await bench.until(lambda: service.connected)

        first, second = instance.record.requests("it")
        assert not bench.errors()

    assert (first.well_formed, second.well_formed) == (False, True)
