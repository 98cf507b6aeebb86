"""The number of a caller who opts out is on the do-not-call list, in any carrier's notation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.call.pipeline import opt_out_for
from bot.do_not_call.opt_outs import OptOuts
from bot.do_not_call.owed_numbers import OwedNumbers
from calls.events import TranscriptFinal
from calls.turn import Turn
from campaigns.store.contacts import Contacts
from operations.database.database import Database
from tests.campaigns.store.campaign_queue import LEASE_S, NOON, new_contacts, open_queue
from tests.kit.clock import always
from transports.leg import LegFacts

pytestmark = pytest.mark.virtual_time


async def ask_to_be_left_alone(
    book: Contacts, region: str | None, folder: Path, **facts: Any
) -> None:
    leg: Any = SimpleNamespace(facts=LegFacts(transport="plivo", sample_rate_hz=8000, **facts))
    server = SimpleNamespace(region=region)
    opt_outs = OptOuts(book, OwedNumbers(folder), emit=print)
    shared: Any = SimpleNamespace(do_not_call=opt_outs, settings=SimpleNamespace(server=server))

    silent: Any = SimpleNamespace(language="en", choose=lambda *_, **__: None)
    desk = opt_out_for(
        shared, leg, silent, silent, str, call_id="c1", turn=Turn(budget_s=1.5), emit=print
    )
    assert desk
    desk.notice(TranscriptFinal(turn=2, at_s=0.0, provider="deepgram", text="Don't call me again."))
    await desk.close()


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+12025550000", None, "+12025550000"),
        ("12025550000", None, "+12025550000"),
        ("sip:12025550000@carrier.example", "US", "+12025550000"),
        ("030 901829", "DE", "+4930901829"),
        ("447911123456", "US", "+447911123456"),
        ("4915112345678", "DE", "+4915112345678"),
        ("4915112345678", "DE", "+494915112345678"),  # both readings: neither may be called
    ],
)
async def test_a_callers_number_is_listed_as_campaigns_dial_it(
    tmp_path: Path, written: str, region: str | None, number: str
) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    await ask_to_be_left_alone(book, region, tmp_path, caller=written)

    assert await book.do_not_call([number]) == {number}
    await book.database.close()


async def test_a_contact_who_opts_out_is_not_called_again_whatever_the_notation(
    tmp_path: Path,
) -> None:
    queue = open_queue(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}", "x")
    (contact,) = new_contacts(1)
    await queue.fill([contact])
    await queue.fill([contact], campaign="autumn")
    dial = (await queue.take()).dial
    await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S)

    await ask_to_be_left_alone(
        queue.book, None, tmp_path, direction="outbound", called="2025550000", dial_id=dial.id
    )

    assert await queue.book.do_not_call([contact.number]) == {contact.number}
    autumn = await queue.figures.standing("autumn")
    assert autumn
    assert autumn.contacts == {"excluded": 1}
    await queue.close()
