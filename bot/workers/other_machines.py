"""The machines of one store: how many there are, and how many more calls they could take.

Each machine stores its room every second. What a machine has stored expires on Redis's clock.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from loguru import logger

from bot.workers.shared_values import PRESENT_S, STORE_CHECK_S, RedisLink, StoreAwayError
from runtime import clock
from runtime.clock import Clock

MACHINES: Final = "{holdline}:machines"
# How long a call that is moved may not be in the room that its new machine stores, and we read,
# once a second each: carriers ask for its new stream within 2 s (chosen).
ON_ITS_WAY_S: Final = 4.0

# Stores this machine's room, and returns the others' as a list.
ANNOUNCE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rooms = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local ends_at, room = string.match(all[i + 1], '(%d+) (%d+)')
  if tonumber(ends_at) <= now then redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then table.insert(rooms, tonumber(room)) end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', now + ARGV[3], ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return rooms
"""


class OtherMachines:
    """The other machines of the store.

    Attributes:
        room: How many more calls they can take; 0 while the store is away.
        count: How many there are; while the store is away, how many there were; 1 at first.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        holder: str,
        room: Callable[[], int],
        clock: Clock = clock.monotonic,
    ) -> None:
        """Assume that there is another machine, without room.

        Args:
            link: The connections.
            holder: A random id of this process.
            room: Returns how many more calls this machine can take.
            clock: Monotonic, in seconds.
        """
        self.room, self.count = 0, 1
        self._clock = clock
        self._sent_at: list[float] = []  # when calls were moved that may not be counted in `room`
        self._link, self._holder, self._own_room = link, holder, room
        self._announce = link.redis.register_script(ANNOUNCE)

    async def run(self) -> None:
        """Store our room and read the others' every `STORE_CHECK_S`, until cancelled."""
        task = asyncio.current_task()
        # The client may swallow a cancellation that arrives while it reads.
        while not (task and task.cancelling()):
            try:
                await self.look()
            except StoreAwayError:
                pass  # told by the link
            except Exception as error:  # noqa: BLE001 - the top of a task: calls go on without it
                logger.opt(exception=error).error("looking for other machines failed")
            await asyncio.sleep(STORE_CHECK_S)

    async def look(self) -> None:
        """Store our room, and read the others'.

        Raises:
            StoreAwayError: Redis does not answer.
        """
        args = [self._holder, self._own_room(), round(PRESENT_S * 1000)]
        try:
            rooms = await self._link.ask(lambda: self._announce(keys=[MACHINES], args=args))
        except StoreAwayError:
            self.room = 0
            raise
        self.room, self.count = sum(rooms), len(rooms)

    def take_room(self) -> bool:
        """Return whether there is room for one of our calls, and count it as on its way there."""
        now = self._clock()
        self._sent_at = [at for at in self._sent_at if now - at < ON_ITS_WAY_S]
        has_room = len(self._sent_at) < self.room
        if has_room:
            self._sent_at.append(now)
        return has_room

    async def leave(self) -> None:
        """Let the others count without this machine at once, or after `PRESENT_S` if that fails."""
        try:
            await self._link.ask(lambda: self._link.redis.hdel(MACHINES, self._holder))
        except StoreAwayError as away:
            logger.debug("the other machines were not told that this one leaves: {}", away)
