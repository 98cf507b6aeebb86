"""Background jobs of campaigns: the costs of dials, and their reports to the CRM."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from loguru import logger

from calls.campaign_events import DialEnded
from calls.entry import Emit
from calls.events import Event
from calls.outbound import Dial
from calls.sentences import dialled
from campaigns.billing import Billing, BillingCarrier, CallCosts
from campaigns.model import Campaign
from campaigns.pacing import DialEvents
from campaigns.store.dials import KEY, Ledger, UnreportedDial
from configuration.settings import Settings
from operations.crm.crm_outbox import ACCEPTED_KEPT_S, CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database, StorageError
from operations.keep_running import UNWELL_S
from runtime import clock
from transports.dialling import CampaignCarrier

# Older dials are not reported: the outbox forgets after `ACCEPTED_KEPT_S` what it has reported.
MAX_AGE_S: Final = ACCEPTED_KEPT_S - 86_400.0
LEFT_DIALS_CHECK_S: Final = 600.0  # if no dial ends here: finds the dials of a killed process
CRM_ID: Final = "crm_id"  # the field with the CRM's id of an imported contact


@dataclass(slots=True, kw_only=True)
class DialReports:
    """Reports finished dials to the CRM, while this process leads its worker pool.

    The ledger has the dials that have ended, the outbox those that were reported. Dials that are
    only in the ledger are added to the outbox, so that a crash in between loses none.

    Attributes:
        agents: The agent's name, by campaign.
        talked: Whether to include dials with a conversation, whose call has its own report.
        leads: Returns whether this process leads.
        dial_ended: Wakes the job when a dial ends.
    """

    ledger: Ledger
    outbox: CrmOutbox
    agents: Mapping[str, str]
    talked: bool
    leads: Callable[[], bool]
    utc_s: Callable[[], float]
    dial_ended: DialEvents = field(default_factory=DialEvents)

    async def run(self) -> None:
        """Report when a dial ends here, and every `LEFT_DIALS_CHECK_S`, until cancelled.

        Only the leader reports. A database failure is logged, and the next try comes sooner.
        """
        while True:
            wait_s = LEFT_DIALS_CHECK_S
            try:
                if self.leads():
                    await self.report_all()
            except StorageError as error:
                logger.error("dials are not reported to the CRM yet: {}", error)
                wait_s = UNWELL_S
            await self.dial_ended.wait(wait_s)

    async def report_all(self) -> int:
        """Put every unreported finished dial into the outbox; return how many there were.

        Dials older than `MAX_AGE_S` are left out. Calling it again adds only new ones.

        Raises:
            StorageError: The database does not answer.
        """
        count, since_s = 0, self.utc_s() - MAX_AGE_S
        while found := await self._read_page(since_s):  # a dial in the outbox is not found again
            for item in found:
                report = self._report_of_dial(item)  # due at once by every clock
                await self.outbox.put(report, now=self.utc_s(), due_s=0.0)
            count += len(found)
        return count

    async def _read_page(self, since_s: float) -> Sequence[UnreportedDial]:
        return await self.ledger.unreported(list(self.agents), since_s=since_s, talked=self.talked)

    def _report_of_dial(self, unreported: UnreportedDial) -> CrmReport:
        """Return the report on a dial; its key shows the CRM that a repeated one is the same."""
        dial: Dial = unreported.dial
        outcome = str(dial.outcome or "")
        result = dialled(outcome, dial.reason)
        return CrmReport(
            key=KEY + dial.id,
            call_id=dial.provider_call_id or dial.id,
            direction="outbound",
            number=dial.number,
            agent=self.agents.get(dial.campaign, ""),
            contact=unreported.fields.get(CRM_ID, ""),
            outcome=outcome,
            length_s=round(dial.length_s or 0.0, 3),
            ended_s=dial.ended_s or self.utc_s(),
            summary=f"Campaign {dial.campaign}, dial {dial.attempt}: {result}.",
        )


class BackgroundJob(Protocol):
    """A job that sleeps until a dial ends."""

    @property
    def dial_ended(self) -> DialEvents:
        """What wakes the job."""
        ...

    async def run(self) -> None:
        """Work until cancelled."""
        ...


def waking(emit: Emit, jobs: Collection[BackgroundJob]) -> Emit:
    """Return an `emit` that also wakes the jobs when a dial ends."""

    def emit_and_wake(event: Event) -> None:
        emit(event)
        if isinstance(event, DialEnded):
            for job in jobs:
                job.dial_ended.set()

    return emit_and_wake


def background_jobs(
    settings: Settings,
    database: Database,
    campaigns: Mapping[str, Campaign],
    carrier: CampaignCarrier | None,
    *,
    leads: Callable[[], bool],
) -> Mapping[str, BackgroundJob]:
    """Return the jobs that this configuration needs, by name, not started; no dial waits for them.

    Each works only while `leads` returns True. The carrier is asked for prices if it can tell them.
    """
    jobs, ledger = dict[str, BackgroundJob](), Ledger(database)
    if campaigns:
        jobs["call costs"] = CallCosts(
            ledger=ledger, campaigns=list(campaigns), leads=leads, now_s=clock.utc_s
        )
    if isinstance(carrier, BillingCarrier):
        jobs["dial billing"] = Billing(
            carrier=carrier,
            ledger=ledger,
            campaigns=list(campaigns),
            leads=leads,
            now_s=clock.utc_s,
        )
    if settings.crm.kind not in ("none", "own") and settings.crm.dials != "none":
        jobs["CRM dial reports"] = DialReports(
            ledger=ledger,
            outbox=CrmOutbox(database),
            agents={name: campaign.agent or "default" for name, campaign in campaigns.items()},
            talked=settings.crm.dials == "all",
            leads=leads,
            utc_s=clock.utc_s,
        )
    return jobs
