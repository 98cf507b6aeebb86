"""Services as an owner writes them, for tests of the adapter."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from pipecat.frames.frames import Frame
from pipecat.services.llm_service import LLMService
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pydantic import BaseModel

HERE = __name__
ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error for error in (SystemExit, BaseException, asyncio.CancelledError)
}


class OwnVoice(TTSService):
    """A voice that names its parameters in its own way, and supports one rate."""

    def __init__(
        self,
        *,
        api_key: str,
        endpoint: str = "own.example",
        voice_id: str | None = None,
        sample_rate: int | None = None,
        pitch: int = 0,
        **kwargs: Any,
    ) -> None:
        if sample_rate not in (None, 16000):
            raise ValueError("only 16000 Hz")
        super().__init__(sample_rate=sample_rate, push_stop_frames=True, **kwargs)
        self.given = {"key": api_key, "url": endpoint, "voice": voice_id, "pitch": pitch}

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        yield None


class OldRecogniser(STTService):
    """A recogniser with `InputParams` in place of settings."""

    class InputParams(BaseModel):
        """Its parameters."""

        language: str = "en"
        punctuate: bool = True

    def __init__(self, *, token: str, params: InputParams | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given = {"key": token, "params": params}

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        yield None


class PlainModel(LLMService):
    """A model that takes nothing."""

    def __init__(self) -> None:
        super().__init__()


class BrokenVoice(OwnVoice):
    """A voice whose constructor raises what no one expects."""

    def __init__(self, *, error: str = "", **kwargs: Any) -> None:
        if error == "Blocks":
            time.sleep(3.0)
        elif error:
            raise ERRORS[error]("no licence")
        raise KeyError("a bug of its owner's")


class Unfinished(TTSService):
    """A voice that does not define `run_tts`."""


class NoService:
    """A class that has nothing to do with Pipecat."""
