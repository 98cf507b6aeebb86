"""The drill's telephone on a real SIP line, which rings through LiveKit and records."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from lab.drill.sound import join_spans, stretches
from runtime import clock
from tests.peers.sip_phone import RATE_HZ, SipPhone, sip_phone

Pcm = NDArray[np.int16]

PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it, as in the carrier's ear
LOST_S: Final = 0.1  # packets that are later than this are missing, and time continues without them
LEFT_S: Final = 30.0  # a guard


class SipTelephone:
    """One call from a SIP phone; seconds count from the first received packet.

    `async with SipTelephone(folder, uri) as telephone:` rings, and is there when it is answered.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder, self._uri = folder, uri
        self._stack = AsyncExitStack()
        self._phone: SipPhone | None = None

    async def __aenter__(self) -> Self:
        """Call, and wait until sound arrives."""
        async with AsyncExitStack() as stack:
            phone = await stack.enter_async_context(sip_phone(self._folder))
            await phone.dial(self._uri)
            await phone.until("CALL_ESTABLISHED")
            await phone.until_heard(lambda sound: sound.size)
            self._phone = phone
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
            await self.phone.hang_up()
        await self._stack.__aexit__(kind, error, trace)

    @property
    def phone(self) -> SipPhone:
        """The phone itself, for its keys."""
        assert self._phone is not None
        return self._phone

    @property
    def started_at(self) -> float:
        """When the first packet was heard, on the monotonic clock."""
        return self.phone.heard_at(0)

    @property
    def now_s(self) -> float:
        """Seconds since then."""
        return clock.monotonic() - self.started_at

    @property
    def over(self) -> bool:
        """Whether the agent's side has hung up."""
        return bool(self.phone.told("CALL_CLOSED"))

    def heard(self) -> Pcm:
        """Return what was heard so far; missing packets are silence."""
        sound, parts, at = self.phone.heard(), [], 0
        start = self.started_at
        for when, size in self.phone.grown("dec"):
            missing = round((when - start - LOST_S) * RATE_HZ) - sum(map(len, parts)) - (size - at)
            if missing > 0:
                parts.append(np.zeros(missing + round(LOST_S * RATE_HZ), np.int16))
            parts.append(sound[at:size])
            at = size
        return np.concatenate([np.zeros(0, np.int16), *parts])

    def bursts(self) -> list[tuple[float, float]]:
        """Return when the agent was heard."""
        return join_spans(stretches(self.heard()), within_s=PAUSE_S)

    async def say(self, samples: Pcm) -> float:
        """Say sound; return when its last sample has left, as the phone itself recorded it."""
        before = self.phone.spoken().size
        await self.phone.say(samples)
        async with asyncio.timeout(LEFT_S):
            while (last := self._last_of(samples, before)) is None:  # noqa: ASYNC110 - a file grows
                await asyncio.sleep(0.02)
        return self.phone.spoken_at(last) - self.started_at

    def _last_of(self, samples: Pcm, since: int) -> int | None:
        """Return the end of a sound in the phone's recording, where silence separates sounds."""
        spoken = self.phone.spoken()[since:]
        loud = np.flatnonzero(spoken)
        if not loud.size or spoken.size <= loud[0] + samples.size + RATE_HZ // 50:
            return None
        return since + int(loud[-1])
