"""Reports one incident after another, and prints the number of each stored one."""

import asyncio
import sys
from itertools import count

from calls.incident import IncidentBegan
from fallbacks.failure import Severity
from operations.database.database import Database
from operations.notify.alert_outbox import AlertOutbox, ReportedEvent


async def main(url: str) -> None:
    outbox = AlertOutbox(Database(url))
    for number in count():
        began = IncidentBegan(
            stage="tts",
            rung=str(number),
            kind="auth",
            severity=Severity.HIGH,
            reason="",
            then="",
        )
        await outbox.report([ReportedEvent(fact=began, at_s=1_800_000_000.0, holder="x")])
        print(number, flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
