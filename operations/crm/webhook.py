"""Posts each call's report to an address of the owner, signed as in Standard Webhooks."""

import json
from collections.abc import Callable

import aiohttp

from bot.http import request
from operations.crm.customer import CrmContact, CrmReport
from operations.crm.port import unanswered
from operations.crm.rest import check_taken
from operations.notify.webhook import signature


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
        at = str(int(self._utc_s()))
        said = {"type": "call.ended", "timestamp": at, "data": report.values()}
        body = json.dumps(said)
        headers = {"webhook-id": report.key, "webhook-timestamp": at}
        if self._secret:
            headers["webhook-signature"] = signature(self._secret, f"{report.key}.{at}.{body}")
        headers["content-type"] = "application/json"
        await self._post(body.encode(), headers)

    async def close(self) -> None:
        """Do nothing: its connections belong to the process."""

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with request(
                "POST",
                self._url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
            ) as said:
                status, told = said.status, said.headers
        except (TimeoutError, ValueError, aiohttp.ClientError, OSError) as error:
            raise unanswered(error) from None  # its text may hold the address
        check_taken(status, told)  # the body is ignored: many servers say "Accepted"
