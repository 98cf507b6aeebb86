"""Brings a changed configuration into force: it is judged first, then each worker is relieved."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loguru import logger

from bot.config.settings import Settings
from bot.workers.slots import Orders, Slots
from calls.house_events import ReloadOutcome

BY_SIGNAL: Final = "SIGHUP"
BUSY: Final = "the workers are starting, stopping or being replaced"

Tell = Callable[..., None]
"""Has a worker tell a fact, given by the name that it goes by and its fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What became of reading the configuration anew."""

    problems: tuple[str, ...] = ()  # a line each; none: it is right
    changed: tuple[str, ...] = ()  # keys


class Plan(Orders, Protocol):
    """What is to be run, and how it changes."""

    settings: Settings

    def renew(self) -> Reread:
        """Read the configuration anew; with problems, which were said, nothing changed."""
        ...

    def restore(self) -> None:
        """Go by the configuration before the last one again: no worker can start with this one."""
        ...


class Reloading:
    """One round at a time, for a signal and for a request over HTTP.

    A request is told that it comes too early. A signal is not: it is heeded behind the round, with
    what the file holds then, and several of them are one.

    Attributes:
        open: Set once the workers serve, until they stop.
        owed: Whether a signal came too early.
    """

    def __init__(
        self, plan: Plan, slots: Slots, *, apply: Callable[[Settings], None], tell: Tell
    ) -> None:
        """Prepare.

        Args:
            plan: What is read anew.
            slots: The workers.
            apply: Has the supervisor itself go by these settings.
            tell: Has a worker tell what became of it.
        """
        self._plan = plan
        self._slots = slots
        self._apply = apply
        self._tell = tell
        self._busy = False
        self.open = self.owed = False

    async def run(self, by: str, *, read: asyncio.Future[Mapping[str, Any]] | None = None) -> None:
        """Read the configuration and, when it is right, replace all workers, one after another.

        Args:
            by: Who asked.
            read: Gets an answer for who asked as soon as it is known what was read.
        """
        if self._busy or not self.open:
            self.owed = self.owed or read is None
            heeded = "not heeded" if read else "heeded behind that, unless we stop"
            logger.warning("{} is {}: {}", by, heeded, BUSY)
            _answer(read, {"busy": BUSY})
            return
        self._busy, self.owed = True, False
        try:
            await self._reload(by, read)
            while self.owed and self.open:
                self.owed = False
                await self._reload(BY_SIGNAL, None)
        finally:
            self._busy = False

    async def _reload(self, by: str, read: asyncio.Future[Mapping[str, Any]] | None) -> None:
        said = await self._reread()
        _answer(read, {"problems": said.problems, "changed": said.changed})
        if said.problems:
            self._say(by, "wrong")
            return
        self._apply(self._plan.settings)
        relieved = await self._slots.renew()
        if not self.open and not relieved.whole:
            logger.info("the workers were not all replaced: we stop")  # whoever loaded was ended
            return
        if not relieved.whole and not relieved.workers:
            self._plan.restore()
            self._apply(self._plan.settings)
            self._say(by, "no_worker", changed=said.changed)
            return
        if relieved.whole:
            logger.info("all workers were replaced; those with calls end with their last call")
        outcome: ReloadOutcome = "replaced" if relieved.whole else "partly"
        self._say(by, outcome, changed=said.changed, workers=relieved.workers)

    async def _reread(self) -> Reread:
        try:
            return await asyncio.to_thread(self._plan.renew)
        except Exception as broken:  # noqa: BLE001 - no file may end the supervisor, and all calls
            line = f"the configuration cannot be read: {type(broken).__name__}: {broken}"
            logger.opt(exception=broken).error("{}; nothing changes", line)
            return Reread(problems=(line,))

    def _say(self, by: str, outcome: ReloadOutcome, **fields: Any) -> None:
        self._tell("reloaded", by=by, outcome=outcome, **fields)


def _answer(read: asyncio.Future[Mapping[str, Any]] | None, answer: Mapping[str, Any]) -> None:
    if read and not read.done():
        read.set_result(answer)
