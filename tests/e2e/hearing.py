"""The agent's voice as a browser received it, and whether a reply is complete in it."""

import asyncio
import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import soundfile
import soxr
import yaml
from numpy.typing import NDArray
from playwright.async_api import Page

from lab.callers import pauses
from lab.control import LabControl
from lab.drill.evidence import sent_between
from lab.drill.hearing import Sent
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.drill.matching import EarPath
from lab.drill.mending import Wear
from lab.drill.sound import RATE_HZ
from lab.process import RunningLab

Pcm = NDArray[np.int16]

EAR: Final = (Path(__file__).parent / "ear.js").read_text(encoding="utf-8")
ON_ITS_WAY_S: Final = 2.0  # from the agent's last word to the page, which holds sound for 1 s
STEADY_S: Final = 1.0
FILLED_S: Final = 30.0  # the longest wait for the page to have so much sound in hand

# Measured: a word that the browser received whole is alike at 0.97 and more, another word of the
# same voice at 0.87 at most. Below 300 Hz its coding turns the phase, above 3 kHz it keeps little.
BROWSER: Final = EarPath(
    alike=0.93,
    short_alike=0.95,
    # One period of a voice is left out at a time.
    wear=Wear(differs=0.3, again=0.9, squeezed=RATE_HZ * 15 // 1000, patient=True),
    band_hz=(300.0, 3000.0),
    finer=4,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment of a call.

    Attributes:
        samples: What the page had received.
        bent: How many the browser had made up, repeated or left out, to keep in time.
        lab_s: Seconds of the lab's record.
    """

    samples: int
    bent: int
    lab_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A reply as the browser received it, at 8000 Hz, with the sound that the lab's voices sent.

    Attributes:
        bent_s: How much the browser made up, repeated or left out to keep in time.
    """

    text: str
    recording: Pcm
    sent: tuple[Sent, ...]
    bent_s: float = 0.0

    def judged(self) -> ReplyVerdict:
        said = ExpectedWords(text=self.text, pauses=pauses(self.text, instance="cartesia"))
        return judge(self.recording, self.sent, said=said, stop_s=0.0, line=BROWSER)

    def keep(self, folder: Path) -> None:
        """Write it to a file."""
        folder.mkdir(parents=True, exist_ok=True)
        sounds = np.concatenate([item.samples for item in self.sent])
        soundfile.write(folder / "received.flac", self.recording, RATE_HZ)
        soundfile.write(folder / "sent.flac", sounds, RATE_HZ)
        words = [
            {
                "text": word.text,
                "provider": word.provider,
                "request": word.request,
                "start_s": round(word.start_s, 6),
                "end_s": round(word.end_s, 6),
                "samples": word.samples.size,
            }
            for word in self.sent
        ]
        about = yaml.safe_dump({"text": self.text, "sent": words}, sort_keys=False)
        (folder / "reply.yaml").write_text(about, encoding="utf-8")

    @classmethod
    def kept(cls, folder: Path) -> Self:
        """Read it from a file."""
        about = yaml.safe_load((folder / "reply.yaml").read_text(encoding="utf-8"))
        recording, _ = soundfile.read(folder / "received.flac", dtype="int16")
        sounds, _ = soundfile.read(folder / "sent.flac", dtype="int16")
        ends = np.cumsum([word.pop("samples") for word in about["sent"]])
        pieces = np.split(sounds, ends[:-1])
        sent = [
            Sent(**word, samples=piece) for word, piece in zip(about["sent"], pieces, strict=True)
        ]
        return cls(text=about["text"], recording=recording, sent=tuple(sent))


class Ear:
    """Hears a page that was opened with `EAR`."""

    def __init__(self, page: Page, lab: RunningLab) -> None:
        self._page = page
        self._lab = lab

    async def now(self) -> Moment:
        lab_s = time.monotonic() - self._lab.started_at_s
        count: int = await self._page.evaluate("window.ear.count()")
        bent: int = await self._page.evaluate("window.ear.bent()")
        return Moment(samples=count, bent=bent, lab_s=lab_s)

    async def steady(self) -> None:
        """Wait until the browser's buffer is full and it stops bending the sound."""
        async with asyncio.timeout(FILLED_S):
            before, now = -1, (await self.now()).bent
            while now != before:
                await asyncio.sleep(STEADY_S)
                before, now = now, (await self.now()).bent

    async def reply(self, text: str, *, since: Moment) -> Heard:
        """Return what was heard since a moment, after sound in transit has arrived."""
        rate_hz: int = await self._page.evaluate("window.ear.rate")
        end = await self.now()
        last = end.samples + round(ON_ITS_WAY_S * rate_hz)
        arrived = "last => window.ear.count() >= last"
        await self._page.wait_for_function(arrived, arg=last, timeout=ON_ITS_WAY_S * 10_000)
        span = [since.samples, last]
        encoded: str = await self._page.evaluate("span => window.ear.between(...span)", span)
        received = np.frombuffer(base64.b64decode(encoded), "<i2")
        recording = soxr.resample(received, rate_hz, RATE_HZ).astype(np.int16)
        async with LabControl(self._lab) as control:
            sent = await sent_between(control, since.lab_s, end.lab_s)
        bent_s = ((await self.now()).bent - since.bent) / rate_hz
        return Heard(text=text, recording=recording, sent=tuple(sent), bent_s=bent_s)
