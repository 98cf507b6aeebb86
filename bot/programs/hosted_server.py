"""Uvicorn as Pipecat's runner needs it: bounded, and with an end that lets the calls end first."""

import asyncio
from types import FrameType
from typing import Any, Final

import uvicorn

from bot.programs.hosted_calls import HOSTED, HostedCalls
from bot.server.bounds import bounds

# For the HTTP connections that remain after the calls have ended and all that these had opened is
# closed: uvicorn begins to wait only then, and cancels behind it what it still finds.
CLOSE_S: Final = 3.0


class HostedServer(uvicorn.Server):
    """Uvicorn, which ends on a signal when the calls have, and by itself: that is no failure."""

    def __init__(self, config: uvicorn.Config, calls: HostedCalls, *, drain_s: float) -> None:
        """Prepare; calls may go on for `drain_s` after a signal, and are cut at a second one."""
        super().__init__(config)
        self._calls = calls
        self._drain_s = drain_s
        self._signals = 0
        self._asked_to_stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a first signal; on a second one, of either kind, stop at once.

        Uvicorn's own would raise the signal again behind the end, and so end us by it.
        """
        self._signals += 1
        if self._signals > 1:
            self._loop.call_soon_threadsafe(self._hurry)
        self._loop.call_soon_threadsafe(self._asked_to_stop.set)

    async def main_loop(self) -> None:
        """Serve until the calls have ended, once they are to."""
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self._end_calls(), name="end the calls when asked")
            await super().main_loop()
            ending.cancel()

    async def _end_calls(self) -> None:
        await self._asked_to_stop.wait()
        for each in self.servers:
            each.close()  # who comes now is taken by nobody
        await self._calls.close(drain_s=self._drain_s)
        self.should_exit = True

    def _hurry(self) -> None:
        self.force_exit = True
        self._calls.hurry()


def run_hosted(app: Any, *, host: str, port: int, drain_s: float) -> None:
    """Serve a host's application until a signal; its calls then end as in `holdline serve`."""

    async def run() -> None:
        calls = HostedCalls()
        HOSTED.set(calls)  # requests are answered in copies of this context
        config = uvicorn.Config(
            app, host=host, port=port, timeout_graceful_shutdown=round(CLOSE_S), **bounds()
        )
        await HostedServer(config, calls, drain_s=drain_s).serve()

    asyncio.run(run())
