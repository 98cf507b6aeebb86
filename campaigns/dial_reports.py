"""Has the owner's register told what became of dials: of those, too, that nobody answered.

The ledger says which dials are over, and the outbox which of them were reported: what stands in the
one and not in the other is put there. So nothing is lost between the two, whoever is killed when.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loguru import logger

from calls.outbound import Dial
from campaigns.dial_news import DialNews
from campaigns.store.unreported_dials import KEY, UnreportedDial, UnreportedDials
from operations.crm.customer import CrmReport
from operations.crm.outbox import KEPT_S, CrmOutbox
from operations.database.database import StorageError
from operations.keep_running import UNWELL_S

REACH_S: Final = KEPT_S - 86_400.0  # what the outbox has forgotten must not be told again
LOOK_S: Final = 600.0  # without news: what a process that was killed has left
CRM_ID: Final = "crm_id"  # the field of a contact that came from a register


@dataclass(slots=True, kw_only=True)
class DialReports:
    """Of one process; it reports while it leads its house.

    Attributes:
        agents: Whose agent makes the calls of each campaign.
        talked: Also report dials in which a call of ours was, which is reported by itself.
    """

    dials: UnreportedDials
    outbox: CrmOutbox
    agents: Mapping[str, str]
    talked: bool
    leads: Callable[[], bool]
    utc_s: Callable[[], float]
    news: DialNews = field(default_factory=DialNews)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            wait_s = LOOK_S
            try:
                if self.leads():
                    await self.report_all()
            except StorageError as error:
                logger.error("dials are not reported to the CRM yet: {}", error)
                wait_s = UNWELL_S
            await self.news.wait(wait_s)

    async def report_all(self) -> int:
        """Put what is over and was not reported into the outbox; return how many there were."""
        count, since_s = 0, self.utc_s() - REACH_S
        while found := await self._page(since_s):
            for each in found:
                await self.outbox.put(self._report(each), now=self.utc_s())
            count += len(found)
        return count

    async def _page(self, since_s: float) -> Sequence[UnreportedDial]:
        return await self.dials.page(list(self.agents), since_s=since_s, talked=self.talked)

    def _report(self, unreported: UnreportedDial) -> CrmReport:
        dial: Dial = unreported.dial
        outcome = str(dial.outcome or "")
        why = f" ({dial.reason})" if dial.reason else ""
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
            summary=f"Campaign {dial.campaign}, dial {dial.attempt}: {outcome}{why}.",
        )
