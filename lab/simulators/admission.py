"""Admits requests to one instance, and determines which fault applies to each."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from lab.simulators.clock import Clock
from lab.simulators.faults import Fault
from lab.simulators.record import Record, Request
from lab.simulators.schedule import Schedule, Window

POLL_S: Final = 0.02  # the delay at most until a timed window affects open connections
_ALWAYS: Final = 1 - 1e-9  # as `chance`: only a window with p = 1 hits


@dataclass(slots=True, kw_only=True)
class Admission:
    """An admitted request.

    Attributes:
        request: Its entry in the record, to be completed by the handler.
        gate: The gate that admitted it, and knows the current fault.
        fault: The fault when it was admitted, if any.
        chance: A number from 0 to 1, drawn once; decides whether a fault with a probability hits.
        tickets: The windows with a limited number of requests that have counted this one, each as
            the schedule's generation and the window's index.
    """

    request: Request
    gate: "AdmissionGate" = field(repr=False)
    fault: Fault | None
    chance: float
    tickets: frozenset[tuple[int, int]] = frozenset()

    def fault_now(self) -> Fault | None:
        """Return its current fault; call this again before each output."""
        return self.gate.active_fault(self)

    async def while_fault(self, kind: type[Fault]) -> None:
        """Wait as long as the request has a fault of this kind, which may end at any time."""
        while isinstance(self.fault_now(), kind):  # noqa: ASYNC110 - windows open by time
            await asyncio.sleep(POLL_S)

    def mark_malformed(self, why: str) -> None:
        """Mark the request as one that the real provider would not understand."""
        self.request.well_formed = False
        self.request.details["malformed"] = why

    def close(self, outcome: str) -> None:
        """Record how the request ended, unless that is already recorded."""
        if self.request.outcome == "open":
            self.request.outcome = outcome


class RequestRefused(Exception):  # noqa: N818 - it carries an answer, it is not an error of the lab
    """The handler must stop and leave the answer to the middleware: it is `response`."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response = response


class AdmissionGate:
    """Numbers and records the requests of an instance, and determines the fault of each."""

    def __init__(
        self, name: str, *, record: Record, clock: Clock, started_at: float, dice: random.Random
    ) -> None:
        self._name = name
        self._record = record
        self._clock = clock
        self._started_at = started_at
        self._dice = dice
        self._schedule = Schedule()
        self._schedule_at = started_at
        self._generation = 0  # of the schedule; tickets of an older one are void
        self._granted: dict[int, int] = {}
        self._numbers = 0

    def now_s(self) -> float:
        """Return the seconds since the lab's start."""
        return self._clock() - self._started_at

    @property
    def windows(self) -> tuple[Window, ...]:
        """The current windows, oldest first."""
        return self._schedule.windows

    def set_faults(self, windows: Sequence[Window], *, since_lab_start: bool) -> None:
        """Replace the schedule; its seconds count from now or from the lab's start.

        Tickets of the former schedule no longer count.
        """
        self._schedule = Schedule(tuple(windows))
        self._schedule_at = self._started_at if since_lab_start else self._clock()
        self._generation += 1
        self._granted = {}

    def let_in(self, *, method: str, path: str) -> Admission:
        """Record a request, draw its chance and count it in a limited window.

        The request is admitted even if a fault hits it, which is then in the result.
        """
        self._numbers += 1
        entry = Request(
            number=self._numbers,
            instance=self._name,
            at_s=self.now_s(),
            method=method,
            path=path,
        )
        self._record.add(entry)
        admission = Admission(request=entry, gate=self, fault=None, chance=self._dice.random())
        admission.tickets = self._take_tickets(admission)
        admission.fault = self.active_fault(admission)
        return admission

    def let_in_within(self, upgrade: web.Request, *, name: str) -> Admission:
        """Record one generation inside an open websocket as a separate request.

        Args:
            upgrade: The websocket's request.
            name: Its name, for instance the context's id.
        """
        return self.let_in(method="WS", path=f"{upgrade.path}#{name}")

    def active_fault(self, admission: Admission) -> Fault | None:
        """Return a request's current fault, if any, and record its name in the request.

        The newest window that hits it wins; a limited one hits only requests that have its ticket.
        """
        for index in self._active_indexes(admission):
            window = self._schedule.windows[index]
            if window.requests is None or (self._generation, index) in admission.tickets:
                admission.request.fault = window.fault.name
                return window.fault
        return None

    def certain_fault(self) -> Fault | None:
        """Return the fault that hits every request now, if any."""
        for index in self._schedule.active_indexes(self._schedule_s(), chance=_ALWAYS):
            if self._schedule.windows[index].requests is None:
                return self._schedule.windows[index].fault
        return None

    def _take_tickets(self, admission: Admission) -> frozenset[tuple[int, int]]:
        """Count the request in the newest limited window that hits it; return the ticket for that.

        A limited window that is used up is skipped. A newer window without a limit wins: no ticket.
        """
        for index in self._active_indexes(admission):
            limit = self._schedule.windows[index].requests
            if limit is None:
                break
            if self._granted.get(index, 0) < limit:
                self._granted[index] = self._granted.get(index, 0) + 1
                return frozenset({(self._generation, index)})
        return frozenset()

    def _active_indexes(self, admission: Admission) -> Iterator[int]:
        path = admission.request.path
        return self._schedule.active_indexes(self._schedule_s(), chance=admission.chance, path=path)

    def _schedule_s(self) -> float:
        return self._clock() - self._schedule_at


async def hang() -> None:
    """Wait until the client disconnects, which cancels the handler."""
    await asyncio.Event().wait()
