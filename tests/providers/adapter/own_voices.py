"""Voices as owners write them, each with its own way of sending sound, for tests of the adapter."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import InterruptibleTTSService, TTSService
from websockets.protocol import State

HERE = __name__
RATE_HZ = 16_000


TIMES: dict[str, list[tuple[str, float]]] = {
    "timed": [("one", 0.0), ("two", 0.2)],
    "backwards": [("one", 0.0), ("two", 0.4), ("three", 0.1)],
    "beyond": [("one", 0.0), ("two", 9.0)],
}
FILES: dict[str, bytes] = {
    **{begins: begins.encode() for begins in ("RIFF", "ID3.", "OggS", "fLaC")},
    "MP3": b"\xff\xfb\x90\x64".ljust(418, b"U")
    + b"\xff\xfb\x92\x64".ljust(418, b"U")
    + b"\xff\xfb\x90\x64".ljust(418, b"U"),
    "MP3 of a low rate": b"\xff\xf3\xe4\xc4".ljust(480, b"U") * 2,
}


def tone(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    """Return audible sound without two equal pieces."""
    at = np.arange(round(seconds * rate_hz))
    return (np.sin(at * at / 3e5) * 9000).astype("<i2").tobytes()


class InlineVoice(TTSService):
    """Yields its sound; `plan` says what, per text."""

    def __init__(self, *, sample_rate: int | None = None, plan: str = "speak", **kwargs: Any):
        settings = TTSSettings(model="own", voice=None, language=None)
        super().__init__(
            sample_rate=sample_rate,
            push_start_frame=True,
            push_stop_frames=True,
            settings=settings,
            **kwargs,
        )
        self.plan = plan
        self.swallowed = 0

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Any, None]:
        del text
        for item in self.items(context_id):
            yield item
        if self.plan in TIMES:
            await self.add_word_timestamps(TIMES[self.plan], context_id)
        match self.plan:
            case "pushed":
                await self.push_frame(self.sound(0.5, context_id))
                yield None
            case "cut" | "exits" | "cancels":
                raise {
                    "cut": ConnectionResetError("gone"),
                    "exits": SystemExit(1),
                    "cancels": asyncio.CancelledError(),
                }[self.plan]
            case "permanent":
                await self.push_error("refused (status: 401)", force_treat_as_permanent=True)
            case "swallow" | "deaf":
                async for item in self.go_on(context_id):
                    yield item
            case _:
                return

    def items(self, name: str) -> list[Any]:
        """Return what it yields first."""
        rate_hz, pcm = self.sample_rate, tone(1.0)
        plans: dict[str, list[Any]] = {
            "speak": [self.sound(0.25, name) for _ in range(4)],
            "torn": [
                TTSAudioRawFrame(pcm[at : at + 4001], rate_hz, 1) for at in range(0, 32000, 4001)
            ],
            "odd": [TTSAudioRawFrame(pcm[:-1], rate_hz, 1)],
            **{
                name: [TTSAudioRawFrame(begins + pcm, rate_hz, 1)] for name, begins in FILES.items()
            },
            "text": ["sound"],
            "ends": [EndFrame()] if self.plan == "ends" else [],
            "cancelled": [CancelFrame()] if self.plan == "cancelled" else [],
            "output frame": [OutputAudioRawFrame(pcm, rate_hz, 1)],
            "list": [TTSAudioRawFrame([1, 2], rate_hz, 1)] if self.plan == "list" else [],  # type: ignore[arg-type]
            "stereo": [TTSAudioRawFrame(pcm, rate_hz, 2)],
            "no rate": [TTSAudioRawFrame(pcm, 0, 1)] if self.plan == "no rate" else [],
            "error": [ErrorFrame(error="Error getting audio (status: 503, error: later)")],
        }
        half = [self.sound(0.5, name)]
        return plans.get(self.plan, [] if self.plan in ("nothing", "permanent", "pushed") else half)

    async def go_on(self, name: str) -> AsyncGenerator[Any, None]:
        """Swallow a cancellation, and yield sound in between or wait."""
        while self.swallowed < 2:  # a test must end
            try:
                await asyncio.sleep(0.05 if self.plan == "swallow" else 3600)
                yield self.sound(0.25, name)
            except asyncio.CancelledError:
                self.swallowed += 1

    def sound(self, seconds: float, context_id: str) -> Frame:
        pcm = tone(seconds, self.sample_rate)
        return TTSAudioRawFrame(pcm, self.sample_rate, 1, context_id=context_id)


class SocketVoice(InterruptibleTTSService):
    """A protocol of its own: one JSON text in, binary sound out, and `end` after each text."""

    def __init__(self, *, url: str, api_key: str, sample_rate: int | None = None, **kwargs: Any):
        settings = TTSSettings(model="own", voice=None, language=None)
        super().__init__(
            sample_rate=sample_rate,
            push_start_frame=True,
            pause_frame_processing=True,
            settings=settings,
            **kwargs,
        )
        self._url, self._key = url, api_key
        self._reader: asyncio.Task[None] | None = None

    async def setup(self, setup: Any) -> None:
        await super().setup(setup)
        await self._connect()

    async def _connect(self) -> None:
        await super()._connect()
        await self._connect_websocket()
        if self._websocket and not self._reader:
            self._reader = self.create_task(self._receive_task_handler(self._report_error))

    async def _disconnect(self) -> None:
        await super()._disconnect()
        if self._reader:
            await self.cancel_task(self._reader)
            self._reader = None
        await self._disconnect_websocket()

    async def _connect_websocket(self) -> None:
        if self._websocket and self._websocket.state is State.OPEN:
            return
        try:
            headers = {"x-key": self._key, "x-rate": str(self.sample_rate)}
            self._websocket = await self._websocket_connect(self._url, additional_headers=headers)
        except Exception as error:  # noqa: BLE001 - as services do
            self._websocket = None
            await self.push_error(f"cannot connect: {error}", exception=error)

    async def _disconnect_websocket(self) -> None:
        socket, self._websocket = self._websocket, None
        if socket:
            await socket.close()

    async def _receive_messages(self) -> None:
        async for message in self._websocket or ():
            name = self.get_active_audio_context_id()  # the protocol has no contexts
            if isinstance(message, bytes):
                await self.append_to_audio_context(
                    name, TTSAudioRawFrame(message, self.sample_rate, 1, context_id=name)
                )
            else:
                await self.remove_audio_context(name)

    async def flush_audio(self, context_id: str | None = None) -> None:
        if self._websocket:
            await self._websocket.send(json.dumps({"flush": True}))

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        try:
            if not self._websocket or self._websocket.state is State.CLOSED:
                await self._connect()
            assert self._websocket
            await self._websocket.send(json.dumps({"text": text}))
            yield None
        except Exception as error:  # noqa: BLE001 - as services do
            yield ErrorFrame(error=f"{error}")


async def never() -> None:
    """Wait for ever, and swallow the first cancellation."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3600)


class HangingVoice(SocketVoice):
    """Hangs when it must fall silent, and when it must disconnect."""

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        await never()

    async def _disconnect_websocket(self) -> None:
        await never()


class GuessingVoice(InlineVoice):
    """Sends sound from a task of its own, in whatever context is active."""

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Any, None]:
        self.create_task(self.send())
        yield None

    async def send(self) -> None:
        for _ in range(10):
            name = self.get_active_audio_context_id()
            await self.append_to_audio_context(name, self.sound(0.1, str(name)))
            await asyncio.sleep(0.05)


class LoadedOnce(InlineVoice):
    """Loads a model in its constructor."""

    loads = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        LoadedOnce.loads += 1
        self._voice_model = object()
