"""The limits that all machines of a store have in common, in Redis: places, and rates of requests.

Redis counts the places that each machine may be using, until they expire on its own clock. When it
has lost its data, no machine gets more places than it has until all leases from before have ended,
and the buckets of the rates count as full from then on.
"""

from collections.abc import Sequence
from typing import Final

from bot.workers.share_rules import LEASE_S, LeakyBucket
from bot.workers.shared_values import BEGIN, SINCE, RedisLink

PLACES: Final = "{holdline}:places:"
PACE: Final = "{holdline}:pace:"

# Divides as `lease_rules.py` does: first what is needed, then the rest evenly.
DIVIDE: Final = f"""{BEGIN}
local me, limit, held = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease = tonumber(ARGV[5])
local names, wanted, target = {{me}}, {{[me] = tonumber(ARGV[4])}}, {{[me] = 0}}
local others = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local name = all[i]
  local ends_at, places, wants = string.match(all[i + 1], '(%d+) (%d+) (%d+)')
  if tonumber(ends_at) <= now then redis.call('HDEL', KEYS[1], name)
  elseif name ~= me then
    others = others + tonumber(places)
    table.insert(names, name)
    wanted[name], target[name] = tonumber(wants), 0
  end
end
table.sort(names)
local left = limit
for pass = 1, 2 do
  while left > 0 do
    local best
    for _, name in ipairs(names) do
      if (pass == 2 or target[name] < wanted[name])
        and (not best or target[name] < target[best]) then best = name end
    end
    if not best then break end
    target[best] = target[best] + 1
    left = left - 1
  end
end
local places = math.max(0, math.min(target[me], limit - others))
if now - since < lease then places = math.min(places, held) end
local line = string.format('%d %d %s', now + lease, math.max(places, held), ARGV[4])
redis.call('HSET', KEYS[1], me, line)
redis.call('PEXPIRE', KEYS[1], lease)
return {{places, #names}}
"""
TAKE: Final = f"""{BEGIN}
local capacity, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(kept[1] or capacity), tonumber(kept[2] or since)
level = math.max(0, level - (now - at) * per_ms)
if level + 1 > capacity then return math.ceil((level + 1 - capacity) / per_ms) end
redis.call('HSET', KEYS[1], 'level', tostring(level + 1), 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil((level + 1) / per_ms))
return 0
"""


class SharedShares:
    """Asks Redis for this machine's shares."""

    def __init__(self, link: RedisLink, *, holder: str) -> None:
        """Ask over `link`, as the machine with the random id `holder`."""
        self._link, self._holder = link, holder
        self._divide = link.redis.register_script(DIVIDE)
        self._take = link.redis.register_script(TAKE)

    async def places(self, name: str, *, limit: int, held: int, wanted: int) -> Sequence[int]:
        """Return how many places of a limit are ours, and how many machines share it.

        Args:
            name: The limit.
            limit: The places of all machines.
            held: How many places this machine may be using.
            wanted: How many it could use.

        Raises:
            StoreAwayError: Redis does not answer.
        """
        args = [self._holder, limit, held, wanted, round(LEASE_S * 1000)]
        keys = [f"{PLACES}{name}", SINCE]
        # Also if Redis was away: only an attempt shows whether it still is.
        return await self._link.try_again(lambda: self._divide(keys=keys, args=args))

    async def take(self, name: str, bucket: LeakyBucket) -> float:
        """Count a request of a limited rate and return 0; else return how long it has to wait.

        Raises:
            StoreAwayError: Redis does not answer.
        """
        args = [bucket.capacity, bucket.per_s / 1000]
        keys = [f"{PACE}{name}", SINCE]
        return await self._link.ask(lambda: self._take(keys=keys, args=args)) / 1000
