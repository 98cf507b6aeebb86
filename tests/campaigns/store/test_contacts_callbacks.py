"""Callbacks that become contacts: each once, not too early, and none on the do-not-call list."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from calls.outbound import (
    CallConsent,
    Claim,
    ClaimRules,
    Contact,
    DialOutcome,
    DialResult,
    NextStep,
)
from campaigns.model import RULES as RULES_OF_OUTCOMES
from campaigns.model import Campaign, next_step
from campaigns.store.contacts import SETTLED_S, UNSEEN_S, Contacts, NewContact
from campaigns.store.figures import Figures
from campaigns.store.queue import Queue
from operations.after_call.outcome_rules import CallResult
from operations.after_call.work import CallResults
from operations.database.database import Database
from operations.inbox.store import Inbox
from operations.record.callbacks import Callback, Callbacks
from tests.kit.clock import always
from tests.kit.databases import on_sqlite

NUMBER = "+12125550142"
NOW = 1_000_000.0
LATER = NOW + 3600.0
ASKED_AT = datetime.fromtimestamp(NOW, UTC)
WANTED = NewContact(
    number=NUMBER,
    zones=("America/New_York",),
    consent=CallConsent(kind="callback", given_on="2026-11-21", source="call c1"),
    due_s=LATER,
)
RULES = ClaimRules(
    day_began_s=0.0,
    pace=lambda use, _: use.bucket,
    opens_s=lambda contact, now: now if contact.consent else "no_consent",
)


async def claim(url: str, now: float, campaign: str = "back") -> Contact | None:
    store = Queue(Database(url), holder="a")
    try:
        found = await store.claim(campaign, RULES, now_s=always(now), lease_s=30.0)
        return found.contact if isinstance(found, Claim) else None
    finally:
        await store.database.close()


async def settle(url: str, *, now: float, outcome: DialOutcome = DialOutcome.COMPLETED) -> None:
    """Dial the next contact, and let the dial end with this outcome."""
    store = Queue(Database(url), holder="b")
    found = await store.claim("back", RULES, now_s=always(now), lease_s=30.0)
    assert isinstance(found, Claim)
    done = DialResult(outcome=outcome)
    await store.settle(found.dial, done, then=NextStep(state="done"), now=now)
    await store.database.close()


async def fail(url: str, campaign: Campaign, *, now: float) -> str:
    """Dial the next contact, and let it fail on our side; return its state."""
    store, outcome = Queue(Database(url), holder="b"), DialOutcome.AGENT_FAILED
    found = await store.claim("back", RULES, now_s=always(now), lease_s=30.0)
    assert isinstance(found, Claim)
    result = DialResult(outcome=outcome)
    step = replace(next_step(campaign, found.contact, result, now), due_s=now)
    await store.settle(found.dial, result, then=step, now=now)
    await store.database.close()
    return step.state


class TestCallbackContacts:
    async def test_a_callback_is_not_dialled_before_its_time(self, url: str) -> None:
        contacts = Contacts(Database(url))

        queued = await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        await contacts.database.close()

        assert queued == "added"
        assert await claim(url, LATER - 1.0) is None
        found = await claim(url, LATER)
        assert found is not None
        assert (found.number, found.zones) == (NUMBER, ("America/New_York",))
        assert found.consent == WANTED.consent

    @on_sqlite
    @pytest.mark.parametrize(
        ("outcome", "done"),
        [
            (DialOutcome.COMPLETED, True),
            (DialOutcome.VOICEMAIL, False),
            (DialOutcome.NO_ANSWER, False),
            (DialOutcome.AGENT_FAILED, False),
        ],
    )
    async def test_a_callback_is_done_once_the_campaign_has_talked_with_the_caller(
        self,
        url: str,
        outcome: DialOutcome,
        done: bool,  # noqa: FBT001 - a column of the table
    ) -> None:
        database = Database(url)
        contacts = Contacts(database)
        asked = Callbacks(database)
        other = replace(WANTED, number="+12125550143", due_s=LATER + 9.0)
        for call_id, each in (("c1", WANTED), ("c2", other)):
            wish = Callback(call_id=call_id, number=each.number, reason="", asked_at=ASKED_AT)
            await asked.add(wish)
            await contacts.queue_callback(call_id, "back", each, now=NOW)

        await settle(url, now=LATER, outcome=outcome)

        waiting = [callback.call_id for callback in await asked.waiting()]
        left = await contacts.left_callbacks(now=LATER + 86_400.0)
        await database.close()
        assert waiting == (["c2"] if done else ["c1", "c2"])
        assert left == [], "the campaign has them, whatever came of it"

    async def test_the_same_callback_twice_is_one_contact(self, url: str) -> None:
        contacts = Contacts(Database(url))
        queued = [await contacts.queue_callback("c1", "back", WANTED, now=NOW) for _ in range(3)]
        await contacts.database.close()
        await settle(url, now=LATER)
        contacts = Contacts(Database(url))

        again = await contacts.queue_callback("c1", "back", WANTED, now=LATER)
        await contacts.database.close()

        assert (queued, again) == (["added", None, None], None)
        assert await claim(url, LATER + 86_400.0) is None

    @on_sqlite
    async def test_a_second_request_in_another_call_is_one_contact_with_the_new_time(
        self, url: str
    ) -> None:
        contacts = Contacts(Database(url))
        await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        new = replace(WANTED, due_s=LATER + 600.0)

        queued = await contacts.queue_callback("c2", "back", new, now=NOW)
        await contacts.database.close()

        assert queued == "moved"
        assert await claim(url, LATER) is None
        assert await claim(url, LATER + 600.0) is not None
        assert await claim(url, LATER + 600.0) is None

    @on_sqlite
    async def test_a_caller_who_was_called_back_and_asks_again_is_called_again(
        self, url: str
    ) -> None:
        contacts = Contacts(Database(url))
        await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        await settle(url, now=LATER)

        queued = await contacts.queue_callback("c2", "back", WANTED, now=LATER)
        await contacts.database.close()

        assert queued == "moved"
        assert await claim(url, LATER) is not None

    @on_sqlite
    async def test_a_caller_with_many_calls_failed_on_our_side_is_called_back_anyway(
        self, url: str
    ) -> None:
        campaign = Campaign(name="back", attempts=3)
        rule = RULES_OF_OUTCOMES[DialOutcome.AGENT_FAILED]
        contacts = Contacts(Database(url))
        await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        steps = [await fail(url, campaign, now=LATER) for _ in range(rule.most)]

        queued = await contacts.queue_callback("c2", "back", WANTED, now=LATER)
        anew = [await fail(url, campaign, now=LATER) for _ in range(rule.most)]
        await contacts.database.close()

        assert queued == "moved"
        assert steps == ["resting"] * (rule.most - 1) + ["done"]
        assert anew == steps

    @on_sqlite
    async def test_a_listed_number_becomes_no_contact(self, url: str) -> None:
        database = Database(url)
        book, contacts = Contacts(database), Contacts(database)
        await book.add_do_not_call(NUMBER, source="voice", now=NOW)

        queued = await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        await database.close()

        assert queued == "do_not_call"
        assert await claim(url, LATER) is None

    @on_sqlite
    async def test_a_contact_being_dialled_gets_the_callback_later(self, url: str) -> None:
        database = Database(url)
        contacts, store = Contacts(database), Queue(database, holder="a")
        await contacts.queue_callback("c1", "back", replace(WANTED, due_s=NOW), now=NOW)
        found = await store.claim("back", RULES, now_s=always(NOW), lease_s=30.0)
        assert isinstance(found, Claim)

        during = await contacts.queue_callback("c2", "back", WANTED, now=NOW)
        done = DialResult(outcome=DialOutcome.COMPLETED)
        await store.settle(found.dial, done, then=NextStep(state="done"), now=NOW)
        behind = await contacts.queue_callback("c2", "back", WANTED, now=NOW)
        await database.close()

        assert (during, behind) == (None, "moved")

    @on_sqlite
    @pytest.mark.parametrize(
        ("state", "others", "becomes"),
        [
            ("ready", 0, "running"),
            ("done", 1, "running"),
            ("ready", 1, "ready"),
            ("paused", 1, "paused"),
        ],
        ids=["for callbacks alone", "no contact left", "never started", "paused"],
    )
    async def test_a_finished_campaign_continues_for_a_callback_unless_stopped(
        self, url: str, state: str, others: int, becomes: str
    ) -> None:
        database = Database(url)
        store, contacts = Queue(database), Contacts(database)
        await store.open("back", now=NOW)
        await store.move("back", state, now=NOW)  # pyright: ignore[reportArgumentType]
        others_of = [NewContact(number=f"+1212555010{index}") for index in range(others)]
        await Contacts(database).add("back", others_of, now=NOW)

        await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        standing = await Figures(database).standing("back")
        await database.close()

        assert standing is not None
        assert standing.state == becomes

    async def test_a_killed_processs_callback_is_found_long_after_its_call(self, url: str) -> None:
        database = Database(url)
        contacts, results = Contacts(database), CallResults(database)
        asked_at = datetime.fromtimestamp(NOW, UTC)
        wish = Callback(call_id="c1", number=NUMBER, reason="r", asked_at=asked_at)
        await Callbacks(database).add(wish)
        await results.put(CallResult(call_id="c1", callback_at_s=LATER, outcome="callback"))

        soon = await contacts.left_callbacks(now=NOW + SETTLED_S)
        late = await contacts.left_callbacks(now=NOW + UNSEEN_S + 1.0)
        await contacts.queue_callback("c1", "back", WANTED, now=NOW)
        queued = await contacts.left_callbacks(now=NOW + UNSEEN_S + 1.0)
        await database.close()

        assert (list(soon), list(queued)) == ([], [])
        assert [(contact.call_id, contact.number, contact.callback_at_s) for contact in late] == [
            ("c1", NUMBER, LATER)
        ]

    @on_sqlite
    async def test_a_fulfilled_callback_is_left_alone(self, url: str) -> None:
        database = Database(url)
        contacts = Contacts(database)
        asked_at = datetime.fromtimestamp(NOW, UTC)
        callbacks = Callbacks(database)
        await callbacks.add(Callback(call_id="c1", number=NUMBER, reason="r", asked_at=asked_at))
        await Inbox(database).mark("callback", "c1", done_at=asked_at + timedelta(minutes=1))

        left = await contacts.left_callbacks(now=NOW + UNSEEN_S + 1.0)
        await database.close()

        assert list(left) == []
