"""Stands in for a service whose constructor raised during a call: it refuses every request.

The failure is reported as that of any service that cannot be reached, so the ladder goes on.
"""
# ruff: noqa: D102 - the methods are those of `calls.voice`, `processors.hearing`, `.answering`

from typing import Any

from loguru import logger
from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import (
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
)

from calls.voice import VoiceEar
from fallbacks.failure import Failure, Kind, error_of, failed, finding
from providers.provider import RungSpec
from runtime.exits import error_text


class BrokenService(FrameProcessor):
    """A recogniser, model or voice that could not be built.

    The constructor logs the error, without the rung's key.
    """

    supervised = True
    connected = False

    def __init__(self, rung: RungSpec, error: Exception) -> None:
        super().__init__(name=rung.name)
        reason = f"its constructor raised {type(error).__name__}"
        text = error_text(error)
        text = text.replace(rung.api_key, "********") if rung.api_key else text
        logger.error("{}: {}: {}", rung.name, reason, text)
        found = finding(Kind.PROTOCOL, permanent=True)
        self._failure = failed(found, rung.stage, provider=rung.name, reason=reason)
        self._ear: VoiceEar | None = None
        self.asks_for = rung.model or ""

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        await self.reconnect()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)

    def listen(self, ear: VoiceEar) -> None:
        self._ear = ear

    async def reconnect(self) -> bool:
        """Report the failure again, to the listener or as an error frame; return False."""
        if self._ear is not None:
            await self._ear.unreachable(self._failure)
        else:
            error = error_of(self._failure)
            await self.push_error(str(error), exception=error)
        return False

    revive = reconnect

    def send_at_once(self, _sound: bytes) -> bool:
        return False

    def ask_for_words(self) -> None: ...

    def on_headers(self, _told: Any) -> None: ...

    async def ask(self, _context: Any, **_: Any) -> Any:
        raise error_of(self._failure)
        yield

    async def infer(self, _context: Any, **_: Any) -> str | None:
        raise error_of(self._failure)

    def failure_of(self, _error: Exception, **_: Any) -> Failure:
        return self._failure

    async def close(self) -> None: ...
