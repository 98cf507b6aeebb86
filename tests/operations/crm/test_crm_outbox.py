"""The outbox of a CRM, in a database that checks lengths."""

from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database
from tests.kit.clock import always


async def test_a_caller_with_a_very_long_address_does_not_block_reports(
    postgres_url: str,
) -> None:
    outbox = CrmOutbox(Database(postgres_url))
    address = "sip:+4930123456@" + "a" * 60 + ".example.com"
    report = CrmReport(key="call-1", call_id="1", direction="inbound", number=address)

    assert await outbox.put(report, now=1.0)

    lent = await outbox.lend(now_s=always(1.0))
    assert lent
    assert lent.report == report
    await outbox.database.close()
