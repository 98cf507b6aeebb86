"""A caller at any carrier of the lab, for the transports of media streams."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from lab.simulators.carrier.carrier import Carrier
from tests.transports.conformance.transport import RATE_HZ, Sound, audible_s
from tests.transports.key_ear import RATE_HZ as EAR_HZ
from tests.transports.key_ear import decode


class CarrierCaller:
    """Speaks and listens at the carrier's own rate."""

    def __init__(self, carrier: Carrier, *, pressed: Callable[[], str] | None = None) -> None:
        self._carrier = carrier
        self._pressed = pressed
        self._send, carrier._send = carrier._send, self._send_unless_still
        self._still = False

    async def say(self, sound: Sound) -> None:
        heard = soxr.resample(sound.astype(np.float32), RATE_HZ, self._carrier.rate_hz)
        await self._carrier.say(np.clip(heard, -32768, 32767).astype(np.int16))

    def heard_s(self) -> float:
        return audible_s(self._carrier.heard(), self._carrier.rate_hz)

    async def press(self, key: str) -> None:
        await self._carrier.press(key)

    def keys_heard(self) -> str:
        """Return the keys that the carrier was asked to press, else those audible as tones."""
        if self._pressed is not None:
            return self._pressed()
        heard = soxr.resample(
            self._carrier.heard().astype(np.float32), self._carrier.rate_hz, EAR_HZ
        )
        return decode(np.clip(heard, -32768, 32767).astype(np.int16)).replace("-", "")

    async def hang_up(self) -> None:
        await self._carrier.hang_up()

    async def vanish(self) -> None:
        self._carrier.vanish()

    async def keep_still(self, length_s: float) -> None:
        self._still = True
        await asyncio.sleep(length_s)
        self._still = False

    async def reset_line(self) -> None:
        await self._carrier.break_off()

    @property
    def ended(self) -> bool:
        return self._carrier.ended.is_set()

    async def _send_unless_still(self, message: dict[str, Any]) -> None:
        if not (self._still and message.get("event") == "media"):
            await self._send(message)
