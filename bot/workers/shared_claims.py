"""Claims that hold on all machines with one store, such as locks between two webhooks of a call.

A claim is kept in Redis for `CLAIM_S`, and the machine that holds it renews it: the claims of a
machine that died are free soon. While Redis is away, a claim holds on its own machine only.
"""

import asyncio
import secrets
from typing import Final

from loguru import logger

from bot.workers.shared_values import RedisLink, StoreAwayError

CLAIM: Final = "{holdline}:claim:"  # the braces put all keys into one slot of a cluster
CLAIM_S: Final = 5.0  # after this time without renewal, a claim is free
RENEW_EVERY_S: Final = 1.0

RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class SharedClaims:
    """The claims of this machine in Redis."""

    def __init__(self, link: RedisLink) -> None:
        """Hold no claim yet."""
        self._link = link
        self._renew = link.redis.register_script(RENEW)
        self._release = link.redis.register_script(RELEASE)
        # By claim: its value in Redis, always another: a late release removes no later claim.
        self._held: dict[str, str] = {}
        self._releasing = set[asyncio.Task[None]]()

    async def claim(self, what: str) -> bool:
        """Return False if another machine has claimed this; True while Redis is away."""
        value, redis = secrets.token_hex(8), self._link.redis
        try:
            is_ours = await self._link.ask(
                lambda: redis.set(f"{CLAIM}{what}", value, nx=True, px=round(CLAIM_S * 1000))
            )
        except StoreAwayError:
            return True
        if is_ours:
            self._held[what] = value
        return bool(is_ours)

    def give_back(self, what: str) -> None:
        """Release a claim, in a task; does nothing if we do not hold it."""
        if value := self._held.pop(what, None):
            releasing = asyncio.get_running_loop().create_task(self._remove(what, value))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    async def look_after(self) -> None:
        """Renew our claims; runs until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            for what, value in tuple(self._held.items()):
                try:
                    await self._link.ask(
                        lambda what=what, value=value: self._renew(
                            keys=[f"{CLAIM}{what}"], args=[value, round(CLAIM_S * 1000)]
                        )
                    )
                except StoreAwayError:
                    break  # told by the link

    async def _remove(self, what: str, value: str) -> None:
        try:
            await self._link.ask(lambda: self._release(keys=[f"{CLAIM}{what}"], args=[value]))
        except StoreAwayError as away:
            logger.debug("a claim is released when it expires: {}", away)
