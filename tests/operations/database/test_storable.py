"""Unstorable text from outside excludes no row from a real SQLite or a real PostgreSQL."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database
from operations.record.callbacks import Callback, Callbacks
from operations.record.voicemails import TEXT, Voicemails, list_voicemails
from tests.kit.clock import always
from tests.operations.database.kept_voicemails import kept_voicemails

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ODD = {"nul": ("a\0b", "a\N{REPLACEMENT CHARACTER}b"), "half": ("a\ud83db", "a?b")}


@pytest.mark.parametrize(("said", "kept"), ODD.values(), ids=list(ODD))
class TestStorable:
    async def test_a_message_with_unstorable_text_does_not_hide_others(
        self, url: str, tmp_path: Path, said: str, kept: str
    ) -> None:
        for name, text in (("m1", said), ("m2", "Please call me.")):
            (tmp_path / f"{name}.wav").write_bytes(b"")
            (tmp_path / f"{name}{TEXT}").write_text(json.dumps({"text": text}), encoding="utf-8")
        voicemails = Voicemails(Database(url))

        await list_voicemails(tmp_path, voicemails)

        found = {
            kept_voicemail.call_id: kept_voicemail.transcript
            for kept_voicemail in await kept_voicemails(url)
        }
        assert found == {"m1": kept, "m2": "Please call me."}
        await voicemails.database.close()

    async def test_a_caller_with_an_odd_number_is_called_back_anyway(
        self, url: str, said: str, kept: str
    ) -> None:
        database = Database(url)
        queue = Callbacks(database)

        assert await queue.add(Callback(call_id="c1", number=said, reason=said, asked_at=AT))

        (waiting,) = await queue.waiting()
        assert (waiting.number, waiting.reason) == (kept, kept)
        await database.close()

    async def test_a_caller_with_an_odd_number_is_reported_to_the_crm(
        self, url: str, said: str, kept: str
    ) -> None:
        del kept  # the report is sent unchanged
        outbox = CrmOutbox(Database(url))
        report = CrmReport(key="call-1", call_id="1", direction="inbound", number=said)

        assert await outbox.put(report, now=1.0)

        lent = await outbox.lend(now_s=always(1.0))
        assert lent
        assert lent.report == report
        await outbox.database.close()


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
