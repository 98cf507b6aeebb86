"""The people of the owner's register as a file of contacts, for an import."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from bot.config.settings import Settings
from bot.exits import CommandError, UsageError
from calls.events import Event
from fallbacks.facts import RetryPlanned
from fallbacks.failure import ServiceError
from operations.crm.opening import crm_of
from operations.crm.people import PeopleMapping, people_mapping, write_people
from operations.crm.port import STAGE, CrmError, classify
from operations.crm.rest import RestCrm, RestRequest
from operations.retrying import Retries, run_with_retries
from transports.http_requests import open_connections

PAGE_BYTES: Final = 8 << 20  # a hundred people, however much is kept of each
MOST_S: Final = 4 * 3600.0  # a register of a million, a page a second


async def fetch_people(settings: Settings, folder: Path, *, say: Callable[[str], None]) -> Path:
    """Return a file with everybody whom the configured register knows.

    Args:
        settings: The configuration.
        folder: Where such a file may be written.
        say: Is told when the register does not answer, and is asked again.

    Raises:
        UsageError: No register is configured that could say whom it knows.
        CommandError: It did not.
    """
    crm = settings.crm
    if crm.kind == "own" and crm.file is not None:
        return crm.file
    mapping, register = people_mapping(crm), crm_of(settings)
    if mapping is None or not isinstance(register, RestCrm):
        raise UsageError(_why_not(settings))
    target = folder / "contacts.csv"
    try:
        async with asyncio.timeout(MOST_S), open_connections():
            await _write(settings, register, mapping, target, say)
    except (ServiceError, CrmError) as failed:
        reason = failed.failure.reason if isinstance(failed, ServiceError) else failed.reason
        raise CommandError(f"crm: {register.name} did not say whom it knows: {reason}") from failed
    except TimeoutError:
        raise CommandError(f"crm: {register.name} was not read within {MOST_S:g} s") from None
    return target


async def _write(
    settings: Settings,
    register: RestCrm,
    mapping: PeopleMapping,
    target: Path,
    say: Callable[[str], None],
) -> None:
    def say_retry(event: Event) -> None:
        if isinstance(event, RetryPlanned):
            say(f"{register.name} failed ({event.kind}); asked again in {event.wait_s:.0f} s")

    retries = Retries(settings=settings.resilience.retry_settings(), tell=say_retry)

    async def ask(request: RestRequest) -> Any:
        return await run_with_retries(
            lambda: register.ask(request, {}, most_bytes=PAGE_BYTES),
            asked=(STAGE, register.name),
            classify=partial(classify, register.name),
            retries=retries,
        )

    await write_people(mapping, ask, target)


def _why_not(settings: Settings) -> str:
    crm = settings.crm
    cures = {
        "none": "set it to own (with `file`), hubspot or rest",
        "own": "it has no `file`; name one, or import it as a file",
        "webhook": "a webhook is told of calls, and knows nobody; take hubspot or rest",
        "rest": "its `mapping` has no `people`; say there how pages of them are asked for",
    }
    return f"--crm: crm.kind is {crm.kind}: {cures.get(crm.kind, '')}"
