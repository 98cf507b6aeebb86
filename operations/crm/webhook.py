"""Posts each call's report to an address of the owner, signed as in Standard Webhooks."""

from collections.abc import Callable

from operations.crm.customer import CrmContact, CrmReport
from operations.remote import check_accepted, post_signed


class WebhookCrm:
    """A CRM without look-ups that receives every report."""

    name = "webhook"

    def __init__(
        self, url: str, secret: str, *, timeout_s: float, utc_s: Callable[[], float]
    ) -> None:
        """Post to `url`, signed with `secret`; `utc_s` dates the signatures."""
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._utc_s = utc_s

    async def look_up(self, number: str) -> CrmContact | None:
        """Return `None`: there is no look-up."""
        del number
        return None

    async def write(self, report: CrmReport) -> None:
        """Post a report; its key is the message's id, which identifies a repeat."""
        status, headers = await post_signed(
            self._url,
            "call.ended",
            report.values(),
            message_id=report.key,
            secret=self._secret,
            now=self._utc_s(),
            timeout_s=self._timeout_s,
        )
        check_accepted(status, headers)

    async def close(self) -> None:
        """Do nothing: its connections belong to the process."""
