"""The drill's telephone in a real browser: calls from our page, speaks and hears."""

import asyncio
import base64
import io
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from playwright.async_api import Page

from lab.drill.rig import TICK_S
from lab.drill.sound import RATE_HZ, join_spans, stretches
from runtime import clock
from tests.e2e.demo_server import ROOT
from tests.e2e.talking import talking

Pcm = NDArray[np.int16]

EAR: Final = (ROOT / "benchmarks" / "page_ear.js").read_text(encoding="utf-8")
KEEPS: Final = "window.keepsSound = true;"
PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it, as in the carrier's ear
LOOK_S: Final = 0.05
SETTLED_S: Final = 0.5  # until the page has read some sound without delay
RINGS_MS: Final = 30_000  # a guard
CLOCKS: Final = 5  # samples of the page's clock; the quickest counts


class BrowserTelephone:
    """One call from a page of its own; seconds count from the first received sample."""

    # The drill takes a mouth to be silent one piece after its last, as a carrier's is.
    mouth_s: Final = TICK_S

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = AsyncExitStack()
        self._page: Page | None = None
        self._pieces: list[Pcm] = []
        self._narrow: soxr.ResampleStream | None = None
        self._state = ""
        self.started_at = 0.0
        self._offset_s = 0.0  # of the page's clock from ours

    async def __aenter__(self) -> Self:
        """Open a browser, call, and return when the sound flows."""
        async with AsyncExitStack() as stack:
            page = await stack.enter_async_context(talking(scripts=(KEEPS, EAR)))
            await page.goto(self._url + "/client/")
            await page.get_by_role("button", name="Call", exact=True).click()
            await page.wait_for_function("() => ear.startedAt > 0", timeout=RINGS_MS)
            self._page = page
            self._offset_s = await _offset_s(page)
            await asyncio.sleep(SETTLED_S)
            self.started_at = await page.evaluate("ear.startedAt") / 1000 + self._offset_s
            rate_hz: int = await page.evaluate("ear.rate")
            self._narrow = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="int16")
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(self._listen(page)).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up."""
        if not self.over:
            await self.page.get_by_role("button", name="Hang up").click()
        await self._stack.__aexit__(kind, error, trace)

    @property
    def page(self) -> Page:
        """The page itself."""
        assert self._page is not None
        return self._page

    @property
    def now_s(self) -> float:
        """Seconds since the first sample was heard."""
        return clock.monotonic() - self.started_at

    @property
    def over(self) -> bool:
        """Whether the agent's side has hung up."""
        return self._state in {"ended", "lost", "failed"}

    def heard(self) -> Pcm:
        """Return what was heard so far, at 8000 Hz."""
        return np.concatenate([np.zeros(0, np.int16), *self._pieces])

    def bursts(self) -> list[tuple[float, float]]:
        """Return when the agent was heard."""
        return join_spans(stretches(self.heard()), within_s=PAUSE_S)

    async def say(self, samples: Pcm) -> float:
        """Say 8000 Hz sound; return when its last sample has left."""
        wav = io.BytesIO()
        soundfile.write(wav, samples, RATE_HZ, format="WAV", subtype="PCM_16")
        began_ms = await self.page.evaluate("window.say", base64.b64encode(wav.getvalue()).decode())
        began_s = began_ms / 1000 + self._offset_s - self.started_at
        return began_s + samples.size / RATE_HZ + self.mouth_s

    async def _listen(self, page: Page) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            taken: str = await page.evaluate("ear.take()")
            assert self._narrow is not None
            wide = np.frombuffer(base64.b64decode(taken), "<i2")
            self._pieces.append(self._narrow.resample_chunk(wide))
            self._state = await page.evaluate("document.documentElement.dataset.call")


async def _offset_s(page: Page) -> float:
    """Return the offset from the page's clock to ours."""
    found: list[tuple[float, float]] = []
    for _ in range(CLOCKS):
        before = clock.monotonic()
        theirs_s = await page.evaluate("performance.now()") / 1000
        after = clock.monotonic()
        found.append((after - before, (before + after) / 2 - theirs_s))
    return min(found)[1]
