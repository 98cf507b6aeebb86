"""This machine's sound card: PulseAudio with two sinks, as the mouth and ears of a person."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import soxr

from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE, RATE_HZ, Sound, audible_s
from tests.transports.local import pulse
from transports.local.leg import LocalLeg
from transports.local.sound_card import _import_sounddevice

PIECE_BYTES = pulse.RATE_HZ // 50 * 2
LISTEN = ("parec", "-d", "agent.monitor", "--format=s16le", f"--rate={pulse.RATE_HZ}")
LISTEN += ("--channels=1", "--raw", "--latency-msec=20")
SPEAK = ("paplay", "-d", "caller", "--raw", "--format=s16le", f"--rate={pulse.RATE_HZ}")
SPEAK += ("--channels=1", "--latency-msec=20")
CANNOT: Final = {
    "keys_in": "there is no keypad",
    "keys_out": "a loudspeaker cannot receive DTMF",
    "transfer": "a microphone has no other line",
    "reconnect": "the call ends with its device",
}
VOID: Final[dict[str, str]] = {}


class PersonHere:
    def __init__(self, leg: LocalLeg, card: Mapping[str, str]) -> None:
        self._leg = leg
        self._card = card
        self._heard_s = 0.0

    async def say(self, sound: Sound) -> None:
        wide = soxr.resample(sound.astype(np.float32), RATE_HZ, pulse.RATE_HZ).astype("<i2")
        await run(self._card, *SPEAK, given=wide.tobytes())

    def heard_s(self) -> float:
        return self._heard_s

    async def press(self, key: str) -> None:
        raise NotImplementedError(key)

    def keys_heard(self) -> str:
        return ""

    async def hang_up(self) -> None:
        await self._leg.put_down()

    async def vanish(self) -> None:
        pid = Path(self._card["PULSE_RUNTIME_PATH"]) / "pid"
        os.kill(int(pid.read_text()), signal.SIGKILL)

    async def keep_still(self, length_s: float) -> None:
        await run(self._card, "pactl", "suspend-source", "mic", "1")
        await asyncio.sleep(length_s)
        await run(self._card, "pactl", "suspend-source", "mic", "0")

    async def reset_line(self) -> None:
        await self.vanish()

    @property
    def ended(self) -> bool:
        return self._leg._output._device.latency_s == 0.0  # it gave the loudspeaker back

    async def listen(self, stream: asyncio.StreamReader) -> None:
        """Hear what the loudspeaker plays."""
        while piece := await stream.read(PIECE_BYTES):
            samples = np.frombuffer(piece[: len(piece) // 2 * 2], "<i2").astype(np.int16)
            self._heard_s += audible_s(samples, pulse.RATE_HZ)


async def run(card: Mapping[str, str], *command: str, given: bytes | None = None) -> None:
    program = await asyncio.create_subprocess_exec(
        *command,
        env=card,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await program.communicate(given)


class Local:
    name = "local"
    peer = "PulseAudio"
    cannot = CANNOT
    void = VOID
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        pulse.require()
        yield {}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[PersonHere]:
        with (
            tempfile.TemporaryDirectory() as folder,
            pulse.sound_card(Path(folder)) as card,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("PULSE_SERVER", card["PULSE_SERVER"])
            sounddevice = _import_sounddevice()
            sounddevice._terminate()  # PortAudio lists the devices once
            sounddevice._initialize()
            async with self._talking(pool, card) as person:
                yield person

    @asynccontextmanager
    async def _talking(
        self, pool: WorkerPool, card: Mapping[str, str]
    ) -> AsyncIterator[PersonHere]:
        listener = await asyncio.create_subprocess_exec(
            *LISTEN, env=card, stdout=asyncio.subprocess.PIPE
        )
        leg = LocalLeg()
        person = PersonHere(leg, card)
        assert listener.stdout
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(person.listen(listener.stdout))
                calling = tasks.create_task(pool.switchboard.answer(leg))
                await leg.answered()
                await pool.notes.until("CallStarted")
                try:
                    yield person
                finally:
                    await leg.put_down()
                    await asyncio.wait([calling])
                    hearing.cancel()
        finally:
            if listener.returncode is None:
                listener.terminate()
            await listener.wait()


TRANSPORT = Local()
