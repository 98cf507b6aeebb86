"""Claims that hold on all machines with one store, such as locks between two webhooks of a call.

A claim is kept in Redis for `CLAIM_S`, and the machine that holds it renews it: the claims of a
machine that died are free soon. While Redis is away, a claim holds on its own machine only. When
Redis is back, it may have lost claims, and each machine stores its own again. So for `CLAIM_S` from
then on, another machine may have a claim that Redis does not have.
"""

import asyncio
import secrets
from contextlib import suppress
from typing import Final

from loguru import logger

from bot.workers.shared_values import BEGIN, SINCE, RedisLink, StoreAwayError
from transports.pool import KeepOutcome

CLAIM: Final = "{holdline}:claim:"  # the braces put all keys into one slot of a cluster
CLAIM_S: Final = 5.0  # after this time without renewal, a claim is free
RENEW_EVERY_S: Final = 1.0

TAKE: Final = f"""{BEGIN}
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {KeepOutcome.REFUSED:d}
end
if now - since < tonumber(ARGV[2]) then return {KeepOutcome.KEPT_HERE:d} end
return {KeepOutcome.KEPT:d}
"""
# `ARGV`: for how long, and the value of each claim.
RENEW: Final = """
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if not value or value == ARGV[i + 1] then
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
  end
end
"""
RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class SharedClaims:
    """The claims of this machine in Redis."""

    def __init__(self, link: RedisLink) -> None:
        """Hold no claim yet."""
        self._link = link
        self._take = link.redis.register_script(TAKE)
        self._renew = link.redis.register_script(RENEW)
        self._release = link.redis.register_script(RELEASE)
        # By claim: its value in Redis, always another: a late release removes no later claim.
        self._held: dict[str, str] = {}
        self._releasing = set[asyncio.Task[None]]()

    async def claim(self, what: str) -> KeepOutcome:
        """Claim this until `give_back`; `REFUSED` if it is already held, on any machine.

        `KEPT_HERE` if another machine may have it as well, because Redis is or was away.
        """
        value = secrets.token_hex(8)
        keys, args = [f"{CLAIM}{what}", SINCE], [value, round(CLAIM_S * 1000)]
        try:
            outcome = KeepOutcome(await self._link.ask(lambda: self._take(keys=keys, args=args)))
        except StoreAwayError:
            outcome = KeepOutcome.KEPT_HERE
        if not outcome:
            return outcome
        self._held[what] = value
        return outcome if self._link.was_there(for_s=CLAIM_S) else KeepOutcome.KEPT_HERE

    def give_back(self, what: str) -> None:
        """Release a claim, in a task; does nothing if we do not hold it."""
        if value := self._held.pop(what, None):
            releasing = asyncio.get_running_loop().create_task(self._release_claim(what, value))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    async def look_after(self) -> None:
        """Renew our claims every `RENEW_EVERY_S` until cancelled, unless the store is away."""
        task = asyncio.current_task()
        # The client may swallow a cancellation that arrives while it reads.
        while not (task and task.cancelling()):
            await asyncio.sleep(RENEW_EVERY_S)
            if not self._held:
                continue
            # In one request: many could take longer than `CLAIM_S` if the store is slow.
            keys = [f"{CLAIM}{what}" for what in self._held]
            args = [round(CLAIM_S * 1000), *self._held.values()]
            with suppress(StoreAwayError):  # told by the link
                await self._link.ask(lambda keys=keys, args=args: self._renew(keys=keys, args=args))

    async def _release_claim(self, what: str, value: str) -> None:
        """Release a claim; if the store is away, it expires there by itself."""
        try:
            await self._link.ask(lambda: self._release(keys=[f"{CLAIM}{what}"], args=[value]))
        except StoreAwayError as away:
            logger.debug("a claim is released when it expires: {}", away)
