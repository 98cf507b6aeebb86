"""The campaign demo: simulated callees, failing providers, and books that agree in the end."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bot import clock
from bot.call.models import VoiceModels
from bot.campaign_stage import StagedServer, StagePlan, staged_server
from bot.exits import CommandError
from bot.lab.callers import CarrierRest
from bot.lab.control import LabControl
from bot.lab.process import STAGE_OF, RunningLab, lab_process
from bot.outbound.staged import StagedContact, cast_of, compare_books
from calls.campaign_events import CampaignHeld, CampaignPaused, CampaignResumed, DialEnded
from calls.entry import Entry
from calls.events import Event
from calls.outbound import Dial
from fallbacks.facts import AttemptFailed, BreakerMoved, RungChosen, StageExhausted
from providers.catalog import provider
from storage.campaign_office import CampaignStanding

FAILING: Final = 0.3  # of requests, at each provider
STUCK_S: Final = 600.0  # a demo that takes longer hangs
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "stt": {"fault": "http", "status": 503, "p": FAILING},
    "llm": {"fault": "http", "status": 503, "p": FAILING},
    "tts": {"fault": "error_event", "status": 503, "p": FAILING},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDemo:
    """What is shown.

    Attributes:
        contacts: Who is called.
        jobs: How many calls at once.
        port: Where the server listens; 0: anywhere.
        folder: Where the database, the log and the calls' own records go.
        every: Each failure is printed, not only what became of each dial.
    """

    contacts: Sequence[StagedContact]
    jobs: int
    port: int
    folder: Path
    every: bool = False


async def demo_campaign(plan: CampaignDemo, console: Console) -> None:
    """Call everybody, print what becomes of each, and end with a report.

    Raises:
        UsageError: The port is taken.
        CommandError: The ledger and the carrier's own book differ, or somebody has no outcome.
    """
    loading = asyncio.get_running_loop().run_in_executor(None, _load)
    async with lab_process() as lab, LabControl(lab) as control:
        await _break(lab, control)
        teller = Teller(plan.contacts, console, every=plan.every)
        stage = StagePlan(
            contacts=plan.contacts,
            folder=plan.folder,
            port=plan.port,
            campaign={"concurrent": plan.jobs},
            listeners=[teller],
            models=await loading,
        )
        teller.begin()
        async with staged_server(lab, stage) as staged:
            console.print(
                f"Watch it at {staged.url}/ ; {len(plan.contacts)} contacts, "
                f"{FAILING:.0%} of each provider's requests fail."
            )
            standing, dials = await _ended(staged)
        _report(console, plan, teller, standing, dials)
        _check(standing, dials, staged.carrier, plan)
        console.print("The ledger and the carrier's own book agree, dial by dial.")


async def _ended(staged: StagedServer) -> tuple[CampaignStanding, Sequence[Dial]]:
    try:
        async with asyncio.timeout(STUCK_S):
            return await staged.ended()
    except TimeoutError:
        raise CommandError(f"the campaign was not done within {STUCK_S:g} s") from None


async def _break(lab: RunningLab, control: LabControl) -> None:
    for each in lab.instances:
        await control.set_faults(each["name"], [FAULTS[STAGE_OF[each["kind"]]]])


def _check(
    standing: CampaignStanding,
    dials: Sequence[Dial],
    carrier: CarrierRest,
    plan: CampaignDemo,
) -> None:
    if standing.state != "done" or standing.contacts.get("done") != len(plan.contacts):
        raise CommandError(f"the campaign is {standing.state}: {dict(standing.contacts)}")
    if differ := compare_books(dials, carrier):
        raise CommandError("; ".join(differ.lines))


def _report(
    console: Console,
    plan: CampaignDemo,
    teller: "Teller",
    standing: CampaignStanding,
    dials: Sequence[Dial],
) -> None:
    last = {each.number: each for each in dials}
    table = Counter(
        (each.behaviour.label, str(last[each.number].outcome) if each.number in last else "none")
        for each in plan.contacts
    )
    console.print()
    for (label, outcome), count in sorted(table.items()):
        console.print(f"{count:4}  {label:<24} {outcome}")
    talked_s = sum(each.length_s or 0.0 for each in dials)
    console.print(
        f"{len(dials)} dials to {len(plan.contacts)} contacts in {teller.now_s:.0f} s; "
        f"{standing.outcomes.get('agent_failed', 0)} failed for our own reasons and were made "
        f"again; {talked_s:.0f} s of talk; {teller.failures} provider requests failed, "
        f"{teller.opened} breakers opened."
    )


@dataclass(slots=True)
class Teller:
    """Prints what happens, as it happens."""

    contacts: Sequence[StagedContact]
    console: Console
    every: bool = False
    failures: int = 0
    opened: int = 0
    _began_s: float = 0.0
    _ended: int = 0
    _by_dial: dict[str, StagedContact] = field(default_factory=dict[str, StagedContact])

    def begin(self) -> None:
        """Count the seconds from here."""
        self._began_s = clock.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the campaign began."""
        return clock.monotonic() - self._began_s

    async def hear(self, entry: Entry) -> None:
        """Print an entry that somebody may want to see."""
        self._count(entry.event)
        if line := self._line(entry.event):
            self.console.print(f"{self.now_s:6.1f} s  {line}", markup=False, soft_wrap=True)

    def _count(self, event: Event) -> None:
        self.failures += isinstance(event, AttemptFailed)
        self.opened += isinstance(event, BreakerMoved) and event.after == "open"

    def _line(self, event: Event) -> str:
        match event:
            case DialEnded():
                return self._ending(event)
            case CampaignHeld() | CampaignPaused():
                return f"-- nobody is dialled: {event.reason}"
            case CampaignResumed():
                return f"-- dialling again, after {event.held_s:.1f} s"
            case _:
                return self._failure(event) if self.every else ""

    def _failure(self, event: Event) -> str:
        match event:
            case AttemptFailed():
                return f"   {event.stage} {event.provider} failed: {event.kind}"
            case RungChosen():
                return f"   {event.stage}: {event.after} takes over from {event.before}"
            case StageExhausted():
                return f"   no {event.stage} is left"
            case _:
                return ""

    def _ending(self, event: DialEnded) -> str:
        contact = self.contacts[(int(event.dial_id.split("-")[1]) - 1) % len(self.contacts)]
        self._ended += 1
        why = f" ({event.reason})" if event.reason else ""
        length = f", {event.length_s:.0f} s" if event.length_s else ""
        return f"{contact.name:<6} {contact.behaviour.label:<24} {event.outcome}{why}{length}"


def _load() -> VoiceModels:
    """Load what takes longest while the lab starts; blocks."""
    for kind, stage in STAGE_OF.items():
        provider(stage, kind).load()
    return VoiceModels.load()


def plan_of(*, contacts: int, jobs: int, port: int, folder: Path, every: bool) -> CampaignDemo:
    """Return a demo with so many contacts of every kind."""
    return CampaignDemo(
        contacts=cast_of(contacts), jobs=jobs, port=port, folder=folder, every=every
    )
