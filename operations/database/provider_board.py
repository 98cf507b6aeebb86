"""The interface of the store in which processes share their providers' health."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from fallbacks.breaker import State
from fallbacks.shared_health import Aspect, RungReport

KEEP_S: Final = 3600.0  # chosen: the entry of a failing rung is renewed at least every 15 min


class ProviderBoard(Protocol):
    """One entry for each aspect of a rung, and one lease for each rung.

    The holder of a lease probes the rung for all processes. A process writes under its own name.
    All timestamps are read from the store's clock, so they agree even if the machines' clocks do
    not. Every method raises `StorageError` if the store does not answer, within a few seconds.
    """

    async def clock_s(self) -> float:
        """Return the store's time, in seconds since 1970."""
        ...

    async def write(self, reports: Iterable[RungReport]) -> None:
        """Write entries; a newer entry about the same aspect of a rung is kept."""
        ...

    async def others(self, places: Iterable[str]) -> Sequence[RungReport]:
        """Return other processes' entries about these rungs."""
        ...

    async def lease(self, places: Iterable[str], *, for_s: float) -> frozenset[str]:
        """Take or renew each lease that is free or ours; return the rungs whose lease we hold.

        A lease that ends later than a new lease would end dates from before the clock was set back.
        It counts as free, because its holder may have died long ago.
        """
        ...

    async def leave(self) -> None:
        """Release our leases."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def report_from_entry(entry: Mapping[str, Any]) -> RungReport | None:
    """Return a stored entry; `None` if it is unreadable.

    Another version of Holdline may share the store, and its entries must not crash our process.
    """
    try:
        report = RungReport(
            place=str(entry["place"]),
            aspect=Aspect(entry["aspect"]),
            at_s=float(entry["at_s"]),
            value=str(entry["value"]),
            until_s=float(entry["until_s"]),
            retired=bool(entry["retired"]),
        )
        if report.aspect is Aspect.BREAKER:
            State(report.value)
    except (KeyError, TypeError, ValueError):
        return None
    return report if math.isfinite(report.at_s) and math.isfinite(report.until_s) else None


def stored_entry(report: RungReport, *, holder: str) -> dict[str, Any]:
    """Return an entry and its writer in stored form, as `report_from_entry` reads it."""
    return {
        "place": report.place,
        "aspect": report.aspect.value,
        "holder": holder,
        "at_s": report.at_s,
        "value": report.value,
        "until_s": report.until_s,
        "retired": report.retired,
    }
