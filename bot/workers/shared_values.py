"""The pool's values in Redis, so that another machine can go on with a call.

Each value is kept in this process as well. While Redis is away, slow, full or read-only, requests
are answered from there at once; what was kept meanwhile is stored in Redis when it is back, and so
is everything if Redis has lost its data. A machine's clock means nothing to another one: the age of
a value is Redis's, and its moments are moved to the clock of the machine that reads it.

Scripts are executed by Redis as a whole (https://redis.io/docs/latest/develop/programmability/).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from math import inf
from typing import Any, Final, TypeVar

from loguru import logger
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the client's
    InvalidResponse,
    RedisError,
    ResponseError,
)
from redis.maint_notifications import MaintNotificationsConfig

from bot.workers.pool import FAIR, MAX_KEPT, KeyValueStore, kind_of
from runtime import clock
from runtime.clock import Clock
from runtime.exits import UsageError
from transports.pool import KeepOutcome, TakenUp

Outcome = TypeVar("Outcome")

PREFIX: Final = "{holdline}:value:"  # the braces put all keys into one slot of a cluster
INDEX: Final = "{holdline}:values:"  # by kind: tokens, sorted by their expiry
MACHINE: Final = "{holdline}:machine:"
SINCE: Final = "{holdline}:since"  # the moment from which Redis has all that was stored
FIRST_ANSWER_S: Final = 2.0  # at the start, and at most for any answer while our own loop stalls
STORE_ANSWER_S: Final = 0.25  # a slower Redis counts as away (chosen: a caller does not notice it)
BEATS: Final = 5  # of our loop in `STORE_ANSWER_S`
CLIENT_LIMIT_S: Final = 2 * FIRST_ANSWER_S  # the client's own limits count our stalls as well
STORE_CHECK_S: Final = 1.0
BLIP_S: Final = 1.2  # after a shorter absence, what is kept for 5 s is renewed before it expires
PRESENT_S: Final = 5.0  # after this time without renewal, a machine is gone
CONNECTIONS: Final = 8
MAX_FAIR: Final = MAX_KEPT // 10  # values of one owner, of the kinds in `FAIR`
MAX_OWN: Final = 4 * MAX_KEPT  # values that are stored again after Redis has lost them
ONCE: Final = "token"  # kinds whose values may have been used elsewhere: they are not stored again
SESSION: Final = "session"  # the kind whose values may be dropped by another machine
SAME_CLOCK_S: Final = 0.5  # moments are moved only by more: on one machine, Redis's delay is less
OLDEST: Final = (6, 2)  # `SET … GET` is newer than 6.0
BUSY: Final = "BUSY "  # the answer while a script runs for too long
UNASKED: Final = "Connection not ready"  # the client's error about a server that speaks first
# Errors of the client about answers that it cannot read, or that refuse its first commands.
NO_REDIS: Final = (
    AuthenticationError,
    InvalidResponse,
    ResponseError,
    ValueError,
    AttributeError,
)
EVICTING: Final = ("allkeys", "volatile")  # policies that drop values before they expire

MAX_VALUE_BYTES: Final = 4_000_000  # a longer one is damaged or not ours

EPOCH_S: Final = 3600.0  # how long an epoch is kept after the last value; a machine is frozen less
EPOCH: Final = "{holdline}:epoch:"

BEGIN: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], now, 'NX')
local since = tonumber(redis.call('GET', KEYS[2]))
"""
# Redis may also have an older state of its data, after a restart: then it has another `run_id`.
TAKE_NAME: Final = f"""{BEGIN}
local data = since .. (string.match(redis.call('INFO', 'server'), 'run_id:%w*') or '')
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {{0, data}} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {{1, data}}
"""
KEEP: Final = """
if ARGV[4] ~= '' then
  if tonumber(redis.call('GET', KEYS[3]) or 0) > tonumber(ARGV[4]) then return 0 end
  redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[2], KEYS[1])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[3]
if over > 0 then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], key)
  end
end
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return 1
"""
# A value that is too long is not sent, because that could take longer than `STORE_ANSWER_S`. One of
# another type is not either: the error would count as that of a store that is away.
GET: Final = f"""
local function get(key)
  local kind = redis.call('TYPE', key)['ok']
  if kind == 'none' then return false end
  if kind ~= 'string' or redis.call('STRLEN', key) > {MAX_VALUE_BYTES} then return '' end
  return redis.call('GET', key)
end
"""
TAKE_UP: Final = f"""{GET}
local epoch = tonumber(redis.call('GET', KEYS[2]) or 0)
if ARGV[1] ~= '' and tonumber(ARGV[1]) ~= epoch then return {{epoch, 0}} end
redis.call('SET', KEYS[2], epoch + 1, 'PX', ARGV[2])
local value = get(KEYS[1])
if value then return {{epoch + 1, 1, value, redis.call('PTTL', KEYS[1])}} end
return {{epoch + 1, 1}}
"""
READ: Final = f"""{GET}
local value = get(KEYS[1])
if not value then return false end
local left = redis.call('PTTL', KEYS[1])
if ARGV[1] == 'take' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], KEYS[1])
end
return {{value, left}}
"""
# Of the values `KEYS`, remove those that are at least `ARGV[1]` ms old, and damaged ones.
DROP: Final = f"""{GET}
for _, key in ipairs(KEYS) do
  local is_read, kept = pcall(cjson.decode, get(key))
  local for_s = is_read and type(kept) == 'table' and tonumber(kept.for_s)
  if not for_s or for_s * 1000 - redis.call('PTTL', key) >= tonumber(ARGV[1]) then
    redis.call('DEL', key)
  end
end
"""
READ_ALL: Final = f"""{GET}
local keys, values = redis.call('ZRANGE', KEYS[1], 0, -1), {{}}
if #keys == 0 then return {{}} end
for i, key in ipairs(keys) do values[i] = get(key) end
return {{keys, values}}
"""


class StoreAwayError(LookupError):
    """Redis does not answer, or refuses to store."""


class RedisLink:
    """The connections to Redis, and whether it is there.

    Attributes:
        redis: The client.
        is_away: Whether Redis failed at the last request; then no further one is sent.
        why_away: Why it failed last; redacted.
    """

    def __init__(self, url: str, *, clock: Clock = clock.monotonic) -> None:
        """Connect at the first request."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=CLIENT_LIMIT_S,
            socket_timeout=CLIENT_LIMIT_S,
            socket_connect_timeout=CLIENT_LIMIT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            # With these, the client reuses a connection that has the answer to another request.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        self.redis = Redis.from_pool(pool)
        self.is_away, self.why_away = False, ""
        self._clock = clock
        self._lost_at = self._back_at = -inf  # back after more than a blip

    async def check(self) -> None:
        """Check that a Redis that answers can be used, over a new connection.

        Raises:
            UsageError: It is no Redis, too old, needs another password, or drops values.
            OSError, TimeoutError, RedisError: It does not answer.
        """
        needed = ".".join(map(str, OLDEST))
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                await self.redis.connection_pool.disconnect(inuse_connections=False)
                about: Mapping[str, Any] = await self.redis.info()
        except (*NO_REDIS, ConnectionError) as refused:
            is_away = not isinstance(refused, NO_REDIS) and str(refused) != UNASKED
            if is_away or str(refused).startswith(BUSY):
                raise
            raise _unusable_store(  # before 6.0, Redis does not know the client's first command
                f"it answers: {_first_line(refused)}; it must be a Redis, {needed} or newer, with"
                " the right password in the URL (redis://:PASSWORD@HOST:6379)"
            ) from refused
        if about.get("redis_mode") == "sentinel":
            raise _unusable_store("it is a Sentinel; give the address of the Redis that it watches")
        version = str(about.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
            raise _unusable_store(f"it is Redis {version}; {needed} or newer is needed")
        policy = str(about.get("maxmemory_policy", ""))
        if policy.startswith(EVICTING) and about.get("maxmemory"):
            raise _unusable_store(
                f"its maxmemory-policy is {policy}, which drops calls; set it to noeviction"
            )

    async def ask(self, request: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return a request's answer.

        Raises:
            StoreAwayError: Redis is away, does not answer in time, or refuses.
        """
        if self.is_away:
            raise StoreAwayError("the store is away")
        return await self.try_again(request)

    async def try_again(self, request: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Do as `ask` does, even if Redis is away; a success does not end that (`find` does).

        After a failure, Redis counts as away (`lose`).

        Raises:
            StoreAwayError: Redis does not answer within `STORE_ANSWER_S`, or refuses.
        """
        try:
            async with asyncio.timeout(None) as limit:
                with _limited(limit):
                    return await request()
        except (OSError, TimeoutError, RedisError, *NO_REDIS) as error:
            self.lose(error)
            raise StoreAwayError(_first_line(error)) from error

    def lose(self, error: BaseException) -> None:
        """Send no further requests; log that once, and again for another `UsageError`."""
        reason, was_away = _first_line(error), self.is_away
        if not was_away:
            self._lost_at = self._clock()
        if not was_away or (isinstance(error, UsageError) and reason != self.why_away):
            self.why_away = reason
            logger.error(
                "the store (server.store) is away: {}; calls go on, but another machine cannot take"
                " them over",
                reason,
            )
        self.is_away = True

    def find(self) -> None:
        """Send requests again; if Redis was away for `BLIP_S`, `was_there` counts from now."""
        if self.is_away:
            logger.info("the store (server.store) is back")
            if self._clock() - self._lost_at >= BLIP_S:
                self._back_at = self._clock()
        self.is_away = False

    def was_there(self, *, for_s: float) -> bool:
        """Return whether Redis has been there for this time, but for blips."""
        return not self.is_away and self._clock() - self._back_at >= for_s


@contextmanager
def _limited(limit: asyncio.Timeout) -> Iterator[None]:
    """Let `limit` expire after `STORE_ANSWER_S` of the block; the time in which we stall is extra.

    A beat of our loop that comes late does not count: the answer may have come meanwhile, and has
    another beat to be read. After `FIRST_ANSWER_S`, the limit expires in any case.
    """
    loop, beat_s, beats = asyncio.get_running_loop(), STORE_ANSWER_S / BEATS, 0
    until = loop.time() + max(FIRST_ANSWER_S, STORE_ANSWER_S)

    def beat() -> None:
        nonlocal beats, timer
        now = loop.time()
        beats += now - timer.when() < beat_s / 2
        if beats == BEATS or now >= until:
            limit.reschedule(now)
        else:
            timer = loop.call_later(beat_s, beat)

    timer = loop.call_later(beat_s, beat)
    try:
        yield
    finally:
        timer.cancel()


class MachineNames:
    """The name of this machine in the store, which no other one may use.

    Attributes:
        is_ours: Whether this machine had it at the last check.
    """

    def __init__(self, link: RedisLink, *, machine: str, holder: str) -> None:
        """Take no name yet.

        Args:
            link: The connections.
            machine: The name; empty if there is none.
            holder: A random id of this process.
        """
        self.is_ours = False
        self._data = ""  # Redis's, at the last check
        self._link, self._machine, self._holder = link, machine, holder
        self._key = f"{MACHINE}{machine or holder}"
        self._script = link.redis.register_script(TAKE_NAME)

    async def take(self) -> None:
        """Take the name; wait up to `PRESENT_S` for that of a machine that has died.

        Raises:
            StoreAwayError: Redis does not answer.
            UsageError: Another machine has it.
        """
        for _ in range(round(PRESENT_S / STORE_CHECK_S) + 1):
            if await self._link.try_again(self._renew_name):
                return
            await asyncio.sleep(STORE_CHECK_S)
        raise _unusable_store(
            f"another server with server.machine: {self._machine} uses it; "
            "give each machine its own name"
        )

    async def check(self) -> bool:
        """Renew the name; return whether Redis has lost data since the last check.

        Raises:
            StoreAwayError: Redis does not answer.
        """
        before = self._data
        if not await self._link.try_again(self._renew_name):
            logger.error("another server with server.machine: {} uses the store", self._machine)
        return before not in ("", self._data)

    async def give_back(self) -> None:
        """Give the name up if it is ours; raise `StoreAwayError` if Redis does not answer."""
        if self.is_ours:
            await self._link.ask(lambda: self._link.redis.delete(self._key))

    async def _renew_name(self) -> bool:
        """Hold the name for another `PRESENT_S`; return False if another machine has it."""
        keys, args = [self._key, SINCE], [self._holder, round(PRESENT_S * 1000)]
        is_ours, self._data = await self._script(keys=keys, args=args)
        self.is_ours = bool(is_ours)
        return self.is_ours


class OwnValues:
    """What this process has kept, as Redis gets it.

    Attributes:
        unshared: The tokens of values that Redis does not have.
        undropped: The tokens, and the kinds, of values that Redis still has, with the moments at
            which they ended; at most `MAX_KEPT`.
    """

    def __init__(self, link: RedisLink, *, local: KeyValueStore, clock: Clock) -> None:
        """Start without values.

        Args:
            link: The connections.
            local: Keeps the values in this process, and learns of later epochs.
            clock: Monotonic, in seconds.
        """
        self.unshared, self.undropped = set[str](), dict[str, float]()
        self._link, self._local, self._clock = link, local, clock
        self._script = link.redis.register_script(KEEP)
        self._drop_script = link.redis.register_script(DROP)
        self._kept: dict[str, str] = {}  # by token

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the tokens."""
        return iter(tuple(self._kept))

    def add(self, token: str, wrapped: str) -> None:
        """Add a value, unshared, as the newest; beyond `MAX_OWN`, the oldest is forgotten."""
        self.forget(token)
        while len(self._kept) >= MAX_OWN:
            self.forget(next(iter(self._kept)))
        self._kept[token] = wrapped
        self.unshared.add(token)
        self.undropped.pop(token, None)

    def forget(self, token: str) -> None:
        """Forget a value, so that it is not stored in Redis again."""
        self._kept.pop(token, None)
        self.unshared.discard(token)

    async def drop(self, token: str) -> None:
        """Remove a value, or all of a kind, also from Redis; if that fails, it stays undropped.

        Raises:
            StoreAwayError: Redis does not answer.
        """
        self.forget(token)
        if not kind_of(token):
            for kept in [item for item in self if kind_of(item) == token]:
                self.forget(kept)
        self.note_undropped(token)
        await self._drop_there(token)

    def note_undropped(self, token: str) -> None:
        """Record that Redis still has a value that has ended; beyond `MAX_KEPT`, forget another."""
        if len(self.undropped) >= MAX_KEPT:
            del self.undropped[next(iter(self.undropped))]
        self.undropped[token] = self._clock()

    def is_dropped(self, token: str) -> bool:
        """Return whether a value ended, but Redis may still have it."""
        return token in self.undropped or kind_of(token) in self.undropped

    async def share(self, token: str) -> KeepOutcome:
        """Store a value in Redis; if that fails, it stays unshared (`KEPT_HERE`).

        If it is refused, it is forgotten, and its epoch is over in this process as well.
        """
        wrapped = self._kept.get(token)
        if wrapped is None:  # it was dropped meanwhile
            return KeepOutcome.KEPT
        try:
            is_ours = await self._link.ask(
                lambda: _store_value(self._script, token, wrapped, self._clock())
            )
        except StoreAwayError:
            return KeepOutcome.KEPT_HERE
        if self._kept.get(token) == wrapped:
            self.unshared.discard(token)
        if is_ours:
            return KeepOutcome.KEPT
        self.forget(token)
        self._local.note_epoch(token, json.loads(wrapped)["epoch"] + 1)
        return KeepOutcome.REFUSED

    async def catch_up(self, missing: Set[str], *, has_lost_all: bool) -> Set[str]:
        """Remove from Redis and store there what it has missed; forget sessions that it lacks.

        Args:
            missing: The sessions that it lacked the last time.
            has_lost_all: Whether it has lost its data.

        Returns:
            The sessions that it lacks.

        Raises:
            StoreAwayError: Redis does not answer.
        """
        if has_lost_all:
            self.unshared |= {item for item in self if not kind_of(item).endswith(ONCE)}
        for token in tuple(self.undropped):
            await self._drop_there(token)
        for token in tuple(self.unshared):
            await self.share(token)
        lacking = await _lacking_sessions(self._link, self._local) - self.unshared
        for ended in lacking & missing:  # twice: a new one is kept here first
            self.forget(ended)
            await self._local.drop(ended)
        return lacking

    async def _drop_there(self, token: str) -> None:
        """Remove a value, or those of a kind that are older than its end, from Redis."""
        ended_at = self.undropped.get(token)
        if ended_at is None:  # it was kept again meanwhile
            return
        await self._remove_values(token, ended_at=ended_at)
        if self.undropped.get(token) == ended_at:
            del self.undropped[token]

    async def _remove_values(self, token: str, *, ended_at: float) -> None:
        """Remove a value, or those of a kind that were stored before `ended_at` (monotonic).

        Their tokens stay in the index until the values would have expired.
        """
        client, cursor = self._link.redis, 0
        if kind_of(token):
            await self._link.ask(lambda: client.unlink(_value_key(token)))
            return
        pattern, is_last = f"{PREFIX}{_escape_pattern(token)} *", False
        while not is_last:  # short requests, because Redis may have a million keys of others
            cursor, found = await self._link.ask(
                lambda at=cursor: client.scan(at, match=pattern, count=1000)
            )
            is_last = not cursor
            if keys := [key for key in found if kind_of(str(key).removeprefix(PREFIX)) == token]:
                args = [round((self._clock() - ended_at - SAME_CLOCK_S) * 1000)]
                await self._link.ask(lambda on=keys, by=args: self._drop_script(keys=on, args=by))


class SharedValues:
    """Values by token in Redis; the interface of `KeyValueStore`.

    Attributes:
        link: The connections.
    """

    def __init__(
        self, url: str, *, machine: str, holder: str, local: KeyValueStore, clock: Clock
    ) -> None:
        """Connect at the first request.

        Args:
            url: Redis's address.
            machine: The name of this machine; empty if it has none.
            holder: A random id of this process.
            local: Keeps the values in this process.
            clock: Monotonic, in seconds.
        """
        self.link = RedisLink(url, clock=clock)
        self._name = MachineNames(self.link, machine=machine, holder=holder)
        self._read = self.link.redis.register_script(READ)
        self._read_all = self.link.redis.register_script(READ_ALL)
        self._take_up = self.link.redis.register_script(TAKE_UP)
        self._local, self._clock = local, clock
        self._own = OwnValues(self.link, local=local, clock=clock)

    @property
    def is_away(self) -> bool:
        """Whether values are kept in this process only."""
        return self.link.is_away

    async def open(self) -> None:
        """Check the store, and take the machine's name; the server goes on without a Redis.

        Raises:
            UsageError: It is no Redis, too old, needs another password, or drops values; or
                another machine has our name.
        """
        try:
            await self.link.check()
            await self._name.take()
        except (OSError, TimeoutError, RedisError) as error:
            self.link.lose(error)
        except StoreAwayError as away:
            logger.debug("the store is away at the start: {}", away)

    async def close(self) -> None:
        """Give the machine's name back, and disconnect."""
        try:
            await self._name.give_back()
        except StoreAwayError as away:
            logger.debug("the store was not told that this machine leaves: {}", away)
        await self.link.redis.aclose()

    async def look_after(self) -> None:
        """Renew the machine's name, and notice whether Redis is there; runs until cancelled.

        Also brings Redis up to date, and forgets the sessions that it has no more.
        """
        task = asyncio.current_task()
        missing: Set[str] = set()
        # The client may swallow a cancellation that arrives while it reads.
        while not (task and task.cancelling()):
            await asyncio.sleep(STORE_CHECK_S)
            try:
                if self.link.is_away:  # what comes back may be another Redis
                    await self.link.check()
                has_lost_all = await self._name.check()
                self.link.find()
                missing = await self._own.catch_up(missing, has_lost_all=has_lost_all)
            except StoreAwayError:
                pass  # told by the link
            except (OSError, TimeoutError, RedisError, UsageError) as error:
                self.link.lose(error)
            except Exception as error:  # noqa: BLE001 - the top of a task: calls go on without it
                logger.opt(exception=error).error("looking after the store failed")

    async def keep(
        self,
        token: str,
        value: Any,
        *,
        for_s: float,
        moments: Sequence[str] = (),
        epoch: int | None = None,
    ) -> KeepOutcome:
        """Store a value here and in Redis; see `KeyValues.keep`."""
        if not await self._local.keep(token, value, for_s=for_s, epoch=epoch):
            return KeepOutcome.REFUSED
        wrapped = json.dumps(
            {
                "value": value,
                "moments": list(moments),
                "at": self._clock(),
                "for_s": for_s,
                "epoch": epoch,
            }
        )
        self._own.add(token, wrapped)
        return await self._own.share(token)

    async def take_up(self, token: str, *, epoch: int | None = None) -> TakenUp | None:
        """Raise a token's epoch, only here while Redis is away; see `KeyValues.take_up`."""
        expected = "" if epoch is None else epoch
        args = [expected, round(EPOCH_S * 1000)]
        keys = [_value_key(token), f"{EPOCH}{token}"]
        try:
            current, is_taken, *found = await self.link.ask(
                lambda: self._take_up(keys=keys, args=args)
            )
        except StoreAwayError:
            return await self._local.take_up(token, epoch=epoch)
        self._local.note_epoch(token, current)
        if not is_taken:
            return None
        here = await self._local.read(token) if token in self._own.unshared else None
        self._own.forget(token)
        return TakenUp(epoch=current, value=_unwrap_value(found, self._clock()) if found else here)

    async def epoch(self, token: str) -> int:
        """Return a token's epoch.

        Raises:
            LookupError: Redis does not answer. What this machine knows is no answer: another one
                may have taken the call up since.
        """
        try:
            found = await self.link.ask(lambda: self.link.redis.get(f"{EPOCH}{token}"))
        except StoreAwayError as away:
            raise LookupError(str(away)) from away
        return max(int(found or 0), await self._local.epoch(token))

    async def take(self, token: str) -> Any:
        """Return the value of a token, once; `None` if there is none or it has expired.

        While Redis is away, only a value of this process; Redis loses it when it is back.
        """
        here = await self._local.take(token)
        is_unshared = token in self._own.unshared
        self._own.forget(token)
        if self._own.is_dropped(token):
            return here
        try:
            found = await self.link.ask(
                lambda: self._read(keys=_value_and_index_keys(token), args=["take"])
            )
        except StoreAwayError:
            if here is not None:
                self._own.note_undropped(token)
            return here
        return _unwrap_value(found, self._clock()) if found or not is_unshared else here

    async def read(self, token: str) -> Any:
        """Return the value of a token and keep it; `None` if there is none or it has expired.

        Raises:
            LookupError: Redis does not answer, and this machine does not have the value. For a
                session there is no error, so that operators can sign in again.
        """
        here = await self._local.read(token)
        try:
            found = await self.link.ask(
                lambda: self._read(keys=_value_and_index_keys(token), args=["read"])
            )
        except StoreAwayError:
            is_known = here is not None or self._own.is_dropped(token)
            if not is_known and kind_of(token) != SESSION:
                raise
            found = None
        is_unknown = not found and (self.is_away or token in self._own.unshared)
        if is_unknown or self._own.is_dropped(token):
            return here
        value = _unwrap_value(found, self._clock())
        if found and value and here is None and kind_of(token) == SESSION:
            # So that it holds without Redis.
            await self._local.keep(token, value, for_s=int(found[1]) / 1000)
        return value

    async def read_all(self, kind: str) -> Mapping[str, Any]:
        """Return the values of a kind, which must have neither owners (`FAIR`) nor moments.

        While Redis is away, only the values of this process.
        """
        try:
            found = await self.link.ask(lambda: self._read_all(keys=[f"{INDEX}{kind}"]))
        except StoreAwayError:
            return await self._local.read_all(kind)
        values = {
            str(key).removeprefix(PREFIX): _unwrap_value((wrapped, 0), self._clock())
            for key, wrapped in zip(*found, strict=True)
            if wrapped is not None
        }
        return {token: value for token, value in values.items() if value is not None}

    async def drop(self, token: str) -> None:
        """Remove a value; if `token` is a kind, all its values.

        Raises:
            LookupError: Redis does not answer: other machines have them until it is back.
        """
        await self._local.drop(token)
        await self._own.drop(token)


def _unwrap_value(found: Any, now: float) -> Any:
    """Return the value in `found` (JSON, ms left) with moments on our clock; `None` if unusable."""
    if not found:
        return None
    wrapped, left_ms = found
    try:
        kept = json.loads(wrapped)
        value = kept["value"]
        age_s = kept["for_s"] - int(left_ms) / 1000
        later_s = now - age_s - kept["at"]
        if abs(later_s) > SAME_CLOCK_S:
            for name in kept["moments"]:
                value[name] += later_s if value[name] else 0.0
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        why = _first_line(error) if wrapped else "it is too long, or no text"
        logger.warning("a value in the store is declined: {}", why)
        return None
    return value


async def _store_value(script: AsyncScript, token: str, wrapped: str, now: float) -> bool:
    """Store a value in Redis if it still has time left; return False if its epoch is over.

    A full kind, or a full owner of values of that kind, loses the value that would expire first.
    """
    kept = json.loads(wrapped)
    left_s = kept["for_s"] - (now - kept["at"])
    if left_s <= 0:
        return True
    kind = kind_of(token)
    owner = " ".join(str(kept["value"].get(name)) for name in FAIR.get(kind, ()))
    keys = [_value_key(token), f"{INDEX}{kind}{' ' if owner else ''}{owner}", f"{EPOCH}{token}"]
    most = MAX_FAIR if owner else MAX_KEPT
    epoch = "" if kept["epoch"] is None else kept["epoch"]
    args = [wrapped, round(left_s * 1000), most, epoch, round(EPOCH_S * 1000)]
    return bool(await script(keys=keys, args=args))


async def _lacking_sessions(link: RedisLink, local: KeyValueStore) -> Set[str]:
    """Return the sessions of this process that Redis does not have.

    They were ended elsewhere, or while this server was down. They must be forgotten, because they
    would be valid here while Redis is away.
    """
    held = list(await local.read_all(SESSION))
    found = await link.ask(lambda: link.redis.mget(map(_value_key, held))) if held else []
    return {token for token, value in zip(held, found, strict=True) if value is None}


def _unusable_store(why: str) -> UsageError:
    return UsageError(f"server.store cannot be used: {why}")


def _first_line(error: BaseException) -> str:
    """Return the first line of an error; addresses in it have no password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _value_key(token: str) -> str:
    return f"{PREFIX}{token}"


def _value_and_index_keys(token: str) -> Sequence[str]:
    """Return the key of a value without an owner, and that of the index of its kind."""
    return [_value_key(token), f"{INDEX}{kind_of(token)}"]


def _escape_pattern(token: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in token)
