"""`elevenlabs-503`: a campaign while a voice answers 503, with and without a standby.

With a standby the callee never notices. Without one no calls are placed during the outage: the
voice is tested outside any call, and again after 5, 10 and 20 s. Then its breaker opens, operators
are notified, and the contact is put back and the next one considered. Probes continue, and when
they succeed the campaign resumes by itself. Dialler, queue, server and calls are real; providers,
carrier and callees are the lab's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bot.call.models import VoiceModels
from calls.campaign_events import (
    CampaignHeld,
    CampaignResumed,
    ContactSkipped,
    DialEnded,
    DialPlaced,
)
from calls.entry import Entry
from calls.events import AgentSaid, CallEnded, Event
from calls.incident import IncidentBegan
from calls.outbound import Dial, DialOutcome
from fallbacks.events import (
    AttemptFailed,
    BreakerMoved,
    ProviderProbed,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    StageExhausted,
)
from lab.control import LabControl
from lab.demo.staged import (
    CONFIRMS,
    StagedContact,
    StagedServer,
    StagePlan,
    cast_of,
    compare_books,
    staged_server,
)
from lab.drill.bench import Say
from lab.drill.scenarios import Proof, Proofs
from lab.process import RunningLab, lab_process
from operations.notify.incident_rules import Incidents
from runtime import clock

VOICE: Final = "elevenlabs"
STANDBY: Final = "cartesia"
ONE_VOICE: Final = ("deepgram", "deepgram-b", "openai", "openai-b", VOICE)
CONTACTS: Final = 2
MAX_S: Final = 240.0
SCENARIO_CHECK_S: Final = 0.1
OUTAGE: Final[Mapping[str, Any]] = {"fault": "http", "status": 503}
SHOWN: Final = (
    AttemptFailed, BreakerMoved, CampaignHeld, CampaignResumed, ContactSkipped, DialEnded,
    DialPlaced, ProviderProbed, RetriesExhausted, RetryPlanned, RungChosen, StageExhausted,
)  # fmt: skip
FLOW: Final = (
    "retry in 5 s", "retry in 10 s", "retry in 20 s", "open", "alert", "skipped", "skipped",
    "probe failed", "mended", "probe did well", "half_open", "closed", "resumed", "dialled",
    "completed", "completed",
)  # fmt: skip
"""The events required without a standby, in this order; others may come in between."""


@dataclass(slots=True)
class Witness:
    """A listener that prints the events, and keeps them and their short codes in order."""

    say: Say
    incidents: Incidents
    events: list[Event] = field(default_factory=list[Event])
    codes: list[str] = field(default_factory=list[str])
    began_s: float = field(default_factory=clock.monotonic)

    async def hear(self, entry: Entry) -> None:
        """Keep an event; print and note it if it is one to show; note each alert that begins."""
        event = entry.event
        self.events.append(event)
        if isinstance(event, SHOWN) and getattr(event, "provider", VOICE) == VOICE:
            self.say(self.now_s, event)
            if code := code_of(event):
                self.codes.append(code)
        for incident in self.incidents.handle(event, self.now_s):
            if isinstance(incident, IncidentBegan):
                self.codes.append("alert")
                place = f"{incident.stage} {incident.rung}".strip()
                self.note(f"ALERT, severity {incident.severity.upper()}: {place}: {incident.kind}")

    def note(self, text: str) -> None:
        """Report a step of the scenario."""
        self.say(self.now_s, text)

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return clock.monotonic() - self.began_s

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


def code_of(event: Event) -> str:
    """Return an event's code; empty if it has none."""
    match event:
        case RetryPlanned():
            return f"retry in {5 * round(event.wait_s / 5)} s"
        case BreakerMoved():
            return event.after
        case ProviderProbed():
            return "probe did well" if event.ok else "probe failed"
        case DialEnded():
            return str(event.outcome)
        case _:
            return _CODES.get(type(event), "")


_CODES: Final[Mapping[type, str]] = {
    ContactSkipped: "skipped",
    CampaignResumed: "resumed",
    DialPlaced: "dialled",
}


def find_missing(wanted: Sequence[str], happened: Sequence[str]) -> list[str]:
    """Return the codes of `wanted` that did not happen after their predecessors."""
    missing: list[str] = []
    at = 0
    for code in wanted:
        if code in happened[at:]:
            at += happened[at:].index(code) + 1
        else:
            missing.append(code)
    return missing


async def play_outage(say: Say) -> Proofs:
    """Play both variants, one after the other, each with its own lab and server."""
    loading = asyncio.get_running_loop().run_in_executor(None, VoiceModels.load)
    contacts = cast_of(CONTACTS, (CONFIRMS,))
    proofs: list[Proof] = []
    for play in (with_standby, without_standby):
        async with lab_process() as lab:
            proofs += await play(lab, contacts, say, await loading)
    return proofs


async def with_standby(
    lab: RunningLab, contacts: Sequence[StagedContact], say: Say, models: VoiceModels | None
) -> Proofs:
    """Call one contact while the voice is broken and a standby works; return the proofs."""
    campaign = _running_campaign(lab, (*ONE_VOICE, STANDBY), contacts[:1], say, models)
    async with campaign as (staged, witness, control):
        witness.note(f"with a standby: {VOICE} answers 503, {STANDBY} works")
        dials = await _wait_until_ended(staged, witness, control)
    failed = [failure for failure in witness.of(AttemptFailed) if failure.provider == VOICE]
    sentences = [event.text for event in witness.of(AgentSaid) if not event.by]
    return (
        Proof(text=f"{VOICE} failed {len(failed)} times in the call", holds=bool(failed)),
        Proof(
            text="the callee heard the disclosure, the greeting and the answers",
            holds=len(sentences) >= 3 and not witness.of(StageExhausted),
        ),
        _all_completed(dials, contacts[:1]),
        Proof(
            text="no contact was skipped and nothing was held",
            holds=not witness.of(ContactSkipped) and not witness.of(CampaignHeld),
        ),
        *_compare_ledgers(dials, staged),
    )


async def without_standby(
    lab: RunningLab, contacts: Sequence[StagedContact], say: Say, models: VoiceModels | None
) -> Proofs:
    """Break the only voice before any call; mend it once all contacts have been skipped."""
    campaign = _running_campaign(lab, ONE_VOICE, contacts, say, models)
    async with campaign as (staged, witness, control):
        witness.note(f"without a standby: {VOICE} answers 503")
        dials = await _wait_until_ended(staged, witness, control, mend_after=len(contacts))
    missing = find_missing(FLOW, witness.codes)
    placed = [event.dial_id for event in witness.of(DialPlaced)]
    skipped = [event.dial_id for event in witness.of(ContactSkipped)]
    return (
        Proof(
            text="in order: " + ", ".join(FLOW) + (f"; not: {missing}" if missing else ""),
            holds=not missing,
        ),
        Proof(text="no call was placed during the outage", holds=not set(placed) & set(skipped)),
        Proof(
            text=f"{len(witness.of(CampaignHeld))} alert to operators that no calls are placed",
            holds=len(witness.of(CampaignHeld)) == 1 and len(witness.of(CampaignResumed)) == 1,
        ),
        Proof(
            text="no call was lost",
            holds=all(event.reason != "failed" for event in witness.of(CallEnded)),
        ),
        _all_completed(dials, contacts),
        *_compare_ledgers(dials, staged),
    )


@asynccontextmanager
async def _running_campaign(
    lab: RunningLab,
    rungs: Sequence[str],
    contacts: Sequence[StagedContact],
    say: Say,
    models: VoiceModels | None,
) -> AsyncIterator[tuple[StagedServer, Witness, LabControl]]:
    """Run a server with these rungs and a campaign during the block; `VOICE` is broken.

    Yields the server, the listener to its events, and the lab's control.
    """
    kept = [instance for instance in lab.instances if instance["name"] in rungs]
    order = sorted(kept, key=lambda instance: rungs.index(str(instance["name"])))
    witness = Witness(say, Incidents({"tts": [rung for rung in rungs if rung in (VOICE, STANDBY)]}))
    with TemporaryDirectory(prefix="holdline-drill-") as folder:
        plan = StagePlan(
            contacts=contacts,
            folder=Path(folder),
            campaign={"on_outage": "skip", "concurrent": 1},
            listeners=[witness],
            models=models,
        )
        async with LabControl(lab) as control:
            await control.set_faults(VOICE, [OUTAGE])
            async with staged_server(replace(lab, instances=order), plan) as staged:
                yield staged, witness, control


async def _wait_until_ended(
    staged: StagedServer,
    witness: Witness,
    control: LabControl,
    *,
    mend_after: int = 0,
) -> Sequence[Dial]:
    """Wait for the end of the campaign, and return its dials.

    With `mend_after`, the voice is mended once that number of contacts was skipped and a probe has
    failed since then.
    """
    async with asyncio.timeout(MAX_S):
        if mend_after:
            await _wait_until(
                lambda: len(witness.of(ContactSkipped)) >= mend_after and _has_probe_failed(witness)
            )
            await control.mend_all()
            witness.codes.append("mended")
            witness.note(f"{VOICE} is mended")
        _, dials = await staged.ended()
        return dials


def _has_probe_failed(witness: Witness) -> bool:
    """Return whether a probe has failed since the last contact was skipped."""
    return "probe failed" in witness.codes[_last_index(witness.codes, "skipped") :]


def _last_index(codes: Sequence[str], code: str) -> int:
    return max(at for at, found in enumerate(codes) if found == code)


async def _wait_until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - the witness has no event
        await asyncio.sleep(SCENARIO_CHECK_S)


def _all_completed(dials: Sequence[Dial], contacts: Sequence[StagedContact]) -> Proof:
    """Return the proof that every contact had a conversation in the end."""
    reached = {dial.number for dial in dials if dial.outcome is DialOutcome.COMPLETED}
    return Proof(
        text=f"{len(reached)} of {len(contacts)} contacts had a conversation in the end",
        holds=len(reached) == len(contacts),
    )


def _compare_ledgers(dials: Sequence[Dial], staged: StagedServer) -> Proofs:
    """Return the proof that our dials and the carrier's record agree."""
    differences = compare_books(dials, staged.carrier)
    more = ": " + "; ".join(differences.lines) if differences else ""
    text = f"the ledger and the carrier's record agree{more}"
    return (Proof(text=text, holds=not differences.lines),)
