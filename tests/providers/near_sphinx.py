"""Runs the local recogniser in this process, for tests on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

from pipecat.processors.frame_processor import FrameProcessor

from providers.local_stt import LocalSTTService
from providers.sphinx import Recogniser
from providers.sphinx_ear import Ear, SphinxResult
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command, _execute_command


class NearSphinx(SphinxProcess):
    """Recognises like the worker process, but at once, without time passing."""

    def __init__(self, ear: Ear, caught_up: asyncio.Event | None = None) -> None:
        super().__init__(ear)
        self._caught_up = caught_up
        self._recogniser: Recogniser | None = None
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def start(self) -> None:
        self._recogniser = Recogniser(self._ear)
        self._answers.put_nowait(SphinxResult(what="ready").as_json())

    def send(self, kind: Command, content: bytes = b"") -> bool:
        if self._recogniser is None:
            return False
        told = BytesIO()
        _execute_command(self._recogniser, kind, content, answers=told)
        for line in told.getvalue().splitlines():
            self._answers.put_nowait(line)
        return True

    async def results(self) -> AsyncIterator[SphinxResult]:
        while True:
            answer = await self._answers.get()
            if self._caught_up is not None:
                await self._caught_up.wait()
            yield SphinxResult.from_json(answer)

    async def close(self) -> None:
        self._recogniser = None


def hear_near(service: FrameProcessor, *, caught_up: asyncio.Event | None = None) -> FrameProcessor:
    """Run the local recogniser in this process; its results wait until it has caught up."""
    assert isinstance(service, LocalSTTService)
    service._process = NearSphinx(service._ear, caught_up)
    return service
