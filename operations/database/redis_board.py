"""Provider health in Redis: one key for each aspect of a rung and for each lease; all expire.

Operations that must be atomic are scripts, which Redis runs as a whole
(https://redis.io/docs/latest/develop/programmability/eval-intro/). The braces put all keys into one
slot, so that a cluster can run the scripts, too.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fallbacks.shared_health import Aspect, RungReport
from operations.database.database import StorageError, line_of
from operations.database.provider_board import KEEP_S, report_from_entry, stored_entry

WORDS: Final = "{holdline}:health:"
LEASES: Final = "{holdline}:prober:"
REDIS_ANSWER_S: Final = 2.0  # a slower Redis counts as down
CONNECTIONS: Final = 2  # one in use, and one if that was given up

# Arguments for each key: its timestamp, its value, and its lifetime in milliseconds.
# A value is "AT_S JSON", so that the newer of two is found without parsing the JSON.
WRITE: Final = """
for i, key in ipairs(KEYS) do
  local old = redis.call('GET', key)
  local old_at = old and tonumber(string.match(old, '^%S+'))
  if not old_at or old_at <= tonumber(ARGV[3 * i - 2]) then
    redis.call('SET', key, ARGV[3 * i - 2] .. ' ' .. ARGV[3 * i - 1], 'PX', ARGV[3 * i])
  end
end
"""
# A lease with more time left than a new one has dates from before the clock was set back.
LEASE: Final = """
local held = {}
for i, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  local stuck = redis.call('PTTL', key) > tonumber(ARGV[2])
  if not holder or holder == ARGV[1] or stuck then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    held[#held + 1] = i
  end
end
return held
"""
LEAVE: Final = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
"""


class RedisBoard:
    """A `ProviderBoard` in Redis; entries expire unless renewed."""

    def __init__(self, url: str, *, holder: str) -> None:
        """Write to the Redis at `url`, as `holder`: the name of this process."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=REDIS_ANSWER_S,
            socket_timeout=REDIS_ANSWER_S,
            socket_connect_timeout=REDIS_ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # the next round comes soon enough
            decode_responses=True,
        )
        self._redis = Redis.from_pool(pool)
        self._password = pool.connection_kwargs.get("password")
        self._holder = holder
        self._leased: tuple[str, ...] = ()  # the rungs of the latest `lease`, for `leave`
        self._write = self._redis.register_script(WRITE)
        self._lease = self._redis.register_script(LEASE)
        self._leave = self._redis.register_script(LEAVE)

    async def clock_s(self) -> float:
        """Return Redis's time, in seconds since 1970."""
        with self._storage_errors():
            seconds, micros = await self._redis.time()
            return float(seconds) + float(micros) / 1e6

    async def write(self, reports: Iterable[RungReport]) -> None:
        """Write entries; a newer entry about the same aspect of a rung is kept.

        Raises:
            StorageError: Redis fails.
        """
        keys: list[str] = []
        arguments: list[Any] = []
        for report in reports:
            keys.append(f"{WORDS}{report.place}:{report.aspect.value}")
            value = json.dumps(stored_entry(report, holder=self._holder))
            keep_s = max(KEEP_S, report.until_s - report.at_s)  # an operator's entry lasts longer
            arguments += [repr(report.at_s), value, round(keep_s * 1000)]
        if not keys:
            return
        with self._storage_errors():
            await self._write(keys=keys, args=arguments)

    async def others(self, places: Iterable[str]) -> Sequence[RungReport]:
        """Return other processes' entries about these rungs, without unreadable ones."""
        keys = [f"{WORDS}{place}:{aspect.value}" for place in places for aspect in Aspect]
        with self._storage_errors():
            found = await self._redis.mget(keys) if keys else []
        entries = [_json_after_timestamp(str(item)) for item in found if item]
        return [
            report
            for item in entries
            if item.get("holder") != self._holder and (report := report_from_entry(item))
        ]

    async def lease(self, places: Iterable[str], *, for_s: float) -> frozenset[str]:
        """Take or renew each lease that is free or ours; return the rungs whose lease we hold."""
        self._leased = tuple(places)
        keys = [f"{LEASES}{place}" for place in self._leased]
        with self._storage_errors():
            held = await self._lease(keys=keys, args=[self._holder, round(for_s * 1000)])
        return frozenset(self._leased[index - 1] for index in cast("list[int]", held))

    async def leave(self) -> None:
        """Release the leases that the latest `lease` asked for, as far as we hold them."""
        keys = [f"{LEASES}{place}" for place in self._leased]
        with self._storage_errors():
            await self._leave(keys=keys, args=[self._holder])

    async def close(self) -> None:
        """Close the connections."""
        with self._storage_errors():
            await self._redis.aclose(close_connection_pool=True)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Raise Redis's errors as `StorageError`, without the password."""
        try:
            yield
        except (RedisError, OSError, UnicodeError) as error:  # the last: unresolvable names
            raise StorageError(line_of(error, hidden=self._password)) from error


def _json_after_timestamp(value: str) -> dict[str, Any]:
    """Return the JSON after a value's timestamp; empty for a value that is not ours."""
    try:
        entry = json.loads(value.partition(" ")[2])
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
