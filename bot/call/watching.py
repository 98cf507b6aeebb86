"""Watches the far end of a call beside it: what goes wrong in that ends the call, and no other."""

from typing import Protocol

from loguru import logger

from bot.call.switchboard import RunningCall


class WatchedLeg(Protocol):
    """A leg that has to be looked after."""

    async def watch(self) -> None:
        """Return when the far end has gone; told before."""
        ...


async def watch_leg(leg: WatchedLeg, call: RunningCall) -> None:
    """Watch a leg until it has gone or this is cancelled; never raises anything else."""
    try:
        await leg.watch()
    except Exception as broken:  # noqa: BLE001 - one call's mistake ends that call alone
        logger.opt(exception=broken).error("call {} is not watched any more", call.call_id)
        try:
            await call.cancel("failed")
        except Exception as stuck:  # noqa: BLE001 - the same; its leg will be closed with it
            logger.opt(exception=stuck).error("call {} cannot be cancelled", call.call_id)
