"""The campaign demo: simulated callees, failing providers, and four records that must agree."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rich.console import Console

from bot.call.models import VoiceModels
from calls.campaign_events import CampaignHeld, CampaignPaused, CampaignResumed, DialEnded
from calls.entry import Entry
from calls.events import Event
from calls.outbound import Dial
from campaigns.state import report_campaign
from campaigns.store.figures import CampaignStanding
from configuration.running_demo import announced
from fallbacks.events import AttemptFailed, BreakerMoved, RungChosen, StageExhausted
from lab.callers import RegisterSimulator
from lab.control import LabControl
from lab.demo.four_books import ComparedContact, compare_contacts, compare_page, read_books
from lab.demo.staged import (
    NAME,
    StagedContact,
    StagedServer,
    StagePlan,
    cast_of,
    register_tree,
    staged_register,
    staged_server,
)
from lab.process import STAGE_OF, RunningLab, lab_process
from providers.catalog import provider
from runtime import clock
from runtime.exits import CommandError

FAILING: Final = 0.3  # of requests, at each provider
STUCK_S: Final = 600.0  # a demo that takes longer hangs
BOOKS_S: Final = 120.0  # the longest wait for every report in the CRM and every carrier price
DEMO_CHECK_S: Final = 0.5
RETRY_S: Final = 0.5  # chosen: the first wait before a report to the demo's CRM is repeated
RETRIES: Final = 6
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "stt": {"fault": "http", "status": 503, "p": FAILING},
    "llm": {"fault": "http", "status": 503, "p": FAILING},
    "tts": {"fault": "error_event", "status": 503, "p": FAILING},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDemo:
    """The demo's parameters.

    Attributes:
        contacts: The people to call.
        jobs: How many calls at once.
        port: The server's port; 0 for any.
        folder: The folder for the database, the log and the calls' own records.
        every_failure: Whether to print each failure, not only the result of each dial.
        reports: The folder for the report; `None` for `folder`.
    """

    contacts: Sequence[StagedContact]
    jobs: int
    port: int
    folder: Path
    every_failure: bool = False
    reports: Path | None = None


async def demo_campaign(plan: CampaignDemo, console: Console) -> None:
    """Call all contacts, print each result, and end with a report.

    Raises:
        UsageError: The port is taken.
        CommandError: The campaign takes too long, a contact has no outcome, or the records differ.
    """
    loading = asyncio.get_running_loop().run_in_executor(None, _load_models)
    async with lab_process() as lab, LabControl(lab) as control:
        await _break_providers(lab, control)
        printer = EventPrinter(plan.contacts, console, every_failure=plan.every_failure)
        await show_campaign(plan, lab, printer, models=await loading)


async def show_campaign(
    plan: CampaignDemo,
    lab: RunningLab,
    printer: "EventPrinter",
    *,
    models: VoiceModels | None = None,
) -> None:
    """Run the demo with a lab whose providers are already failing.

    Raises:
        UsageError: The port is taken.
        CommandError: The campaign takes too long, a contact has no outcome, or the records differ.
    """
    console = printer.console
    async with staged_register(plan.contacts, failing=FAILING) as register:
        printer.begin()
        async with staged_server(lab, stage_plan_of(plan, register, printer, models)) as staged:
            console.print(
                f"Watch it at {staged.url}/ ; {len(plan.contacts)} contacts, "
                f"{FAILING:.0%} of the requests to each provider and to the CRM fail."
            )
            with _announce_server(plan, staged):
                standing, dials = await _wait_until_done(staged)
            _print_summary(console, plan, printer, standing, dials)
            _check_all_called(standing, plan)
            await show_books(plan, staged, register, console)


def _announce_server(plan: CampaignDemo, staged: StagedServer) -> AbstractContextManager[None]:
    """Announce this server to other commands while the context is open."""
    port = urlsplit(staged.url).port or 0
    folder = plan.reports or plan.folder
    return announced(folder, port, storage=staged.storage, logs=plan.folder)


def stage_plan_of(
    plan: CampaignDemo,
    register: RegisterSimulator,
    printer: "EventPrinter",
    models: VoiceModels | None,
) -> StagePlan:
    """Return the set-up: these contacts, and a CRM that gets a report of every dial."""
    return StagePlan(
        contacts=plan.contacts,
        folder=plan.folder,
        port=plan.port,
        campaign={"concurrent": plan.jobs},
        changes={
            "crm": register_tree(register.url, register.api_key),
            "resilience": {"retry": {"initial_s": RETRY_S, "attempts": RETRIES}},
        },
        listeners=[printer],
        models=models,
    )


async def show_books(
    plan: CampaignDemo, staged: StagedServer, register: RegisterSimulator, console: Console
) -> None:
    """Print the comparison of the four records, once they agree or `BOOKS_S` are over.

    Raises:
        CommandError: They differ.
    """
    folder, lines = plan.reports or plan.folder, list[str]()
    compared, page = await _compare_books(plan, staged, register, lines)
    until_s = clock.monotonic() + BOOKS_S
    while (page or any(contact.differs for contact in compared)) and clock.monotonic() < until_s:
        await asyncio.sleep(DEMO_CHECK_S)
        compared, page = await _compare_books(plan, staged, register, lines)
    console.print()
    for line in (*lines, "", *(contact.line for contact in compared), *page):
        console.print(line, markup=False, soft_wrap=True)
    differing = sum(bool(contact.differs) for contact in compared)
    if differing or page:
        raise CommandError(f"the records differ about {differing} contacts; see {folder}")
    console.print(
        f"Ledger, report, CRM and carrier agree about all {len(compared)} contacts; the CRM "
        f"received {register.repeats} reports twice, and kept each once."
    )


async def _compare_books(
    plan: CampaignDemo, staged: StagedServer, register: RegisterSimulator, lines: list[str]
) -> tuple[list[ComparedContact], tuple[str, ...]]:
    """Write the report again, and compare the records as they are now.

    `lines` is emptied, and gets what the report prints.
    """
    folder = plan.reports or plan.folder
    lines.clear()
    await report_campaign(staged.storage, NAME, folder, say=lines.append)
    dials = await staged.dials()
    books = await asyncio.to_thread(
        read_books, folder, NAME, dials=dials, register=register, carrier=staged.carrier
    )
    return compare_contacts(books, plan.contacts), compare_page(books)


async def _wait_until_done(staged: StagedServer) -> tuple[CampaignStanding, Sequence[Dial]]:
    try:
        return await staged.ended(within_s=STUCK_S)
    except TimeoutError:
        raise CommandError(f"the campaign was not done within {STUCK_S:g} s") from None


async def _break_providers(lab: RunningLab, control: LabControl) -> None:
    for instance in lab.instances:
        await control.set_faults(instance["name"], [FAULTS[STAGE_OF[instance["kind"]]]])


def _check_all_called(standing: CampaignStanding, plan: CampaignDemo) -> None:
    """Raise `CommandError` unless the campaign is done with every contact."""
    if standing.state != "done" or standing.contacts.get("done") != len(plan.contacts):
        raise CommandError(f"the campaign is {standing.state}: {dict(standing.contacts)}")


def _print_summary(
    console: Console,
    plan: CampaignDemo,
    printer: "EventPrinter",
    standing: CampaignStanding,
    dials: Sequence[Dial],
) -> None:
    """Print the number of contacts by kind and outcome, and the totals."""
    last = {dial.number: dial for dial in dials}
    table = Counter(
        (
            contact.behaviour.label,
            str(last[contact.number].outcome) if contact.number in last else "none",
        )
        for contact in plan.contacts
    )
    console.print()
    for (label, outcome), count in sorted(table.items()):
        console.print(f"{count:4}  {label:<24} {outcome}")
    talked_s = sum(dial.length_s or 0.0 for dial in dials)
    console.print(
        f"{len(dials)} dials to {len(plan.contacts)} contacts in {printer.now_s:.0f} s; "
        f"{standing.outcomes.get('agent_failed', 0)} failed for our own reasons and were "
        f"repeated; {talked_s:.0f} s of talk; {printer.failures} provider requests failed, "
        f"{printer.opened} breakers opened."
    )


@dataclass(slots=True)
class EventPrinter:
    """Prints the events as they happen.

    Attributes:
        failures: How many provider requests failed.
        opened: How often a breaker opened.
    """

    contacts: Sequence[StagedContact]
    console: Console
    every_failure: bool = False
    failures: int = 0
    opened: int = 0
    _began_s: float = 0.0
    _ended: int = 0
    _by_dial: dict[str, StagedContact] = field(default_factory=dict[str, StagedContact])

    def begin(self) -> None:
        """Start the clock; call this before the first event."""
        self._began_s = clock.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the campaign began."""
        return clock.monotonic() - self._began_s

    async def hear(self, entry: Entry) -> None:
        """Count an entry, and print it if it is of interest."""
        self._count_failures(entry.event)
        if line := self._describe_event(entry.event):
            self.console.print(f"{self.now_s:6.1f} s  {line}", markup=False, soft_wrap=True)

    def _count_failures(self, event: Event) -> None:
        self.failures += isinstance(event, AttemptFailed)
        self.opened += isinstance(event, BreakerMoved) and event.after == "open"

    def _describe_event(self, event: Event) -> str:
        """Return an event as a line; empty for one that is not shown."""
        match event:
            case DialEnded():
                return self._describe_end(event)
            case CampaignHeld() | CampaignPaused():
                return f"-- no calls are placed: {event.reason}"
            case CampaignResumed():
                return f"-- dialling again, after {event.held_s:.1f} s"
            case _:
                return self._describe_failure(event) if self.every_failure else ""

    def _describe_failure(self, event: Event) -> str:
        """Return a failure or a failover as a line; empty for any other event."""
        match event:
            case AttemptFailed():
                return f"   {event.stage} {event.provider} failed: {event.kind}"
            case RungChosen():
                return f"   {event.stage}: {event.after} takes over from {event.before}"
            case StageExhausted():
                return f"   no {event.stage} is left"
            case _:
                return ""

    def _describe_end(self, event: DialEnded) -> str:
        # The second part of a dial's id is the contact's id, which counts from 1.
        contact = self.contacts[(int(event.dial_id.split("-")[1]) - 1) % len(self.contacts)]
        self._ended += 1
        why = f" ({event.reason})" if event.reason else ""
        length = f", {event.length_s:.0f} s" if event.length_s else ""
        return f"{contact.name:<6} {contact.behaviour.label:<24} {event.outcome}{why}{length}"


def _load_models() -> VoiceModels:
    """Load the slowest parts while the lab starts; blocks."""
    for kind, stage in STAGE_OF.items():
        provider(stage, kind).load()
    return VoiceModels.load()


def plan_of(
    *, contacts: int, jobs: int, port: int, folder: Path, reports: Path, every_failure: bool
) -> CampaignDemo:
    """Return a demo with this many contacts of every kind."""
    return CampaignDemo(
        contacts=cast_of(contacts),
        jobs=jobs,
        port=port,
        folder=folder,
        reports=reports,
        every_failure=every_failure,
    )
