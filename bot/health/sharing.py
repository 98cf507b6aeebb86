"""Shares the providers' health with other processes, and goes on without them."""

import asyncio
import hashlib
import json
import platform
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from loguru import logger

from bot import clock
from bot.config.rungs import spoken
from bot.config.settings import Settings
from bot.config.share_address import LOCAL, board_at
from bot.health.policies import credential
from calls.entry import Tell
from calls.events import ShareLost, ShareRegained
from fallbacks.facts import RungFollowed
from fallbacks.health import Health
from fallbacks.roster import HealthTable
from fallbacks.shared_health import Aspect, BoardWord, SharedRung
from operations.database.database import StorageError
from operations.database.provider_board import ProviderBoard
from operations.keep_running import keep_running

LOOK_S: Final = 0.5  # how long at most one process does not know what another has found out
LEASE_S: Final = 6.0  # a prober that died is replaced after so long
RENEW_S: Final = 2.0
ANSWER_S: Final = 3.0  # a board that takes longer is as good as none
LOOKS: Final = 3  # at the board's clock, before the first word
TRUST_S: Final = 60.0  # a clock that loses `ASTRAY_S` in that time is broken (chosen)
ASTRAY_S: Final = 0.1
DOUBTS: Final = 3  # looks that may fail in a row before anyone is told: two may start at once


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """How far the board's clock was seen to be before our own."""

    ahead_s: float
    within_s: float  # it is not further off than that
    at: float  # monotonic


def _followed(health: Health) -> RungFollowed:
    return RungFollowed(
        stage=health.stage,
        provider=health.provider,
        breaker=health.breaker.state,
        suspect=health.suspect_since is not None,
    )


def _was_set(before: _Sight, after: _Sight) -> bool:
    """Say whether two sights cannot both be true of a clock that nobody has set."""
    apart_s = abs(after.ahead_s - before.ahead_s)
    return apart_s > before.within_s + after.within_s + ASTRAY_S


def _within(sight: _Sight) -> float:
    return sight.within_s


class Share:
    """One process's side of the board."""

    def __init__(self, rungs: Iterable[SharedRung], *, board: ProviderBoard, tell: Tell) -> None:
        """Share the health of these rungs, each at its place on the board."""
        self._rungs = {rung.place: rung for rung in rungs}
        self._board = board
        self._tell = tell
        self._unsaid: dict[tuple[str, Aspect], BoardWord] = {}  # the last word on each aspect
        self._led: frozenset[str] = frozenset()
        self._renew_at = 0.0
        self._sight: _Sight | None = None  # of the board's clock; None: not seen yet
        self._misses = 0
        self._alone_since: float | None = None

    def leads(self, place: str) -> bool:
        """Say whether it is for this process to probe a rung; alone it does so itself."""
        return place in self._led or self._misses > 0

    async def run(self) -> None:
        """Look at the board again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Leave what is new here, and take over what is new there."""
        self._listen_to_ourselves()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._exchange()
        except (StorageError, TimeoutError) as gone:
            self._count_miss(gone)
        else:
            self._rejoin()

    def doubt(self, broken: Exception) -> None:
        """Go on alone for now: a look failed in a way that nobody has foreseen."""
        self._count_miss(StorageError(type(broken).__name__))

    async def close(self) -> None:
        """Leave the probing to others; a board that hangs is not waited for."""
        for part in (self._board.leave, self._board.close):
            try:
                async with asyncio.timeout(ANSWER_S):
                    await part()
            except (StorageError, TimeoutError):
                continue  # nobody is waiting for it: leases end by themselves
            except Exception as broken:  # noqa: BLE001 - the end of the process: calls still end
                logger.opt(exception=broken).error("the board could not be left")

    def _listen_to_ourselves(self) -> None:
        """Collect what is new; what happens before the first sight of the board's clock waits."""
        if self._sight is None:
            return
        now = clock.monotonic()
        for rung in self._rungs.values():
            for word in rung.news(now, utc_s=now + self._sight.ahead_s):
                self._unsaid[word.place, word.aspect] = word

    async def _exchange(self) -> None:
        renews = clock.monotonic() >= self._renew_at
        if renews or self._sight is None:
            self._sight = await self._sight_clock()
            self._listen_to_ourselves()
        saying = dict(self._unsaid)
        await self._board.write(saying.values())
        for key, word in saying.items():
            if self._unsaid.get(key) is word:
                del self._unsaid[key]
        for word in await self._board.others(self._rungs):
            now = clock.monotonic()
            rung = self._rungs[word.place]
            changed = rung.heed(word, now, utc_s=now + self._sight.ahead_s)
            if changed and word.aspect in (Aspect.BREAKER, Aspect.SUSPICION):
                self._tell(_followed(rung.health))
        if renews:
            self._led = await self._board.lease(self._rungs, for_s=LEASE_S)
            self._renew_at = clock.monotonic() + RENEW_S

    async def _sight_clock(self) -> _Sight:
        """Look at the board's clock, and return the best sight of it; the first one takes several.

        As NTP does (RFC 5905, 10 Clock Filter Algorithm): the quicker the answer, the surer.
        """
        if self._sight is None:
            await self._board.clock_s()  # connects, which would count as a slow answer
            return min([await self._look_at_clock() for _ in range(LOOKS)], key=_within)
        new = await self._look_at_clock()
        if new.at - self._sight.at >= TRUST_S or _was_set(self._sight, new):
            return new
        return min(new, self._sight, key=_within)

    async def _look_at_clock(self) -> _Sight:
        began = clock.monotonic()
        board_s = await self._board.clock_s()
        now = clock.monotonic()
        return _Sight(ahead_s=board_s - (began + now) / 2, within_s=(now - began) / 2, at=now)

    def _count_miss(self, gone: Exception) -> None:
        self._misses += 1
        self._renew_at = 0.0
        if self._misses == DOUBTS:
            self._alone_since = clock.monotonic()
            self._tell(ShareLost(reason=_reason(gone)))

    def _rejoin(self) -> None:
        if self._misses == 0:
            return
        self._misses = 0
        if self._alone_since is not None:
            self._tell(ShareRegained(alone_s=clock.monotonic() - self._alone_since))
            self._alone_since = None
        for rung in self._rungs.values():
            rung.tell_again()  # a board that was started anew may have forgotten everything


def _reason(gone: Exception) -> str:
    """Say in a line why we are alone."""
    return str(gone) if isinstance(gone, StorageError) else f"no answer within {ANSWER_S:g} s"


def places(settings: Settings) -> dict[tuple[str, str], str]:
    """Return each rung's place on the board: the same only where the same is asked with one key.

    A voice that is misspelt, or options that a provider refuses, are no failure of a rung that has
    others. What has no address runs on a machine of its own, and fails with it.
    """
    found: dict[tuple[str, str], str] = {}
    for stage, rung in settings.stages.rungs():
        asked = [
            rung.kind,
            rung.url or platform.node(),
            credential(rung),
            rung.model,
            rung.voice,
            rung.language or spoken(settings.agent.language, stage),
            getattr(rung, "alternatives", 1),
            rung.options,
        ]
        said = json.dumps(asked, sort_keys=True, default=str)
        mark = hashlib.sha256(said.encode()).hexdigest()[:12]
        found[stage, rung.name] = f"{stage}/{rung.name[:150]}/{mark}"
    return found


@asynccontextmanager
async def share_health(
    settings: Settings, roster: HealthTable, *, tell: Tell
) -> AsyncIterator[Share | None]:
    """Share while the block runs; None: there is nobody to share with."""
    if settings.resilience.share == LOCAL:
        yield None
        return
    board = board_at(settings.resilience.share, holder=secrets.token_hex(8))
    rungs = [SharedRung(place, roster.health(*key)) for key, place in places(settings).items()]
    share = Share(rungs, board=board, tell=tell)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = keep_running("a look at the board", share.run, on_failure=share.doubt)
            looking = tasks.create_task(running, name="share the providers' health")
            try:
                yield share
            finally:
                looking.cancel()
    finally:
        await share.close()
