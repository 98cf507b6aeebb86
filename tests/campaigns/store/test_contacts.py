"""Contacts in thousands, on a real SQLite and a real PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from campaigns.store.contacts import BATCH, Contacts, DoNotCallEntry, NewContact
from campaigns.store.figures import Figures
from operations.database.database import Database
from tests.campaigns.store.campaign_queue import CONSENT, NOON
from tests.kit.databases import on_sqlite

BATCHES = 2


def batch_of(index: int, size: int = BATCH) -> list[NewContact]:
    first = index * size
    return [
        NewContact(number=f"+1{2125550000 + first + item}", name='Ada "x", {1}', consent=CONSENT)
        for item in range(size)
    ]


class TestContacts:
    @pytest.fixture
    async def books(self, url: str) -> AsyncIterator[tuple[Contacts, Contacts]]:
        books = Contacts(Database(url)), Contacts(Database(url))
        yield books
        for book in books:
            await book.database.close()

    async def test_two_imports_at_once_add_each_contact_once(
        self, books: tuple[Contacts, Contacts]
    ) -> None:
        async def take(book: Contacts, order: list[int], now: float) -> Counter[str]:
            told = Counter[str]()
            for index in order:
                rows = batch_of(index, 50)
                told += Counter(
                    await book.add("spring", rows[:: 1 if now == NOON else -1], now=now)
                )
            return told

        forward = list(range(8))
        one, other = await asyncio.gather(
            take(books[0], forward, NOON), take(books[1], forward[::-1], NOON + 1)
        )

        assert one + other == {"added": 400, "known": 400}

    async def test_entries_have_pages_and_leave_with_their_contacts_coming_back(
        self, books: tuple[Contacts, Contacts]
    ) -> None:
        book, other = books
        first, second, third = batch_of(0, 3)
        await book.add("spring", [first, second, third], now=NOON)
        await book.add_do_not_call(first.number, source="letter", now=NOON, words="No \0calls.")
        new = await book.add_do_not_call_entries(
            [DoNotCallEntry(item.number, "file", NOON + 1) for item in (first, second)]
        )

        newest = await other.do_not_call_entries(most=1)
        older = await other.do_not_call_entries(skip=1)
        removed = [
            await other.remove_do_not_call(second.number, added_s=NOON),  # not its time
            await other.remove_do_not_call(second.number, added_s=NOON + 1),
            await other.remove_do_not_call(second.number),
        ]

        assert (new, removed) == (1, [0, 1, 0])
        assert [entry.number for entry in newest] == [second.number]
        assert older == [DoNotCallEntry(first.number, "letter", NOON, "No \ufffdcalls.")]
        standing = await Figures(book.database).standing("spring")
        assert standing
        assert standing.contacts == {"excluded": 1, "waiting": 2}

    @on_sqlite
    async def test_another_reading_of_a_number_leaves_the_list_with_it(
        self, books: tuple[Contacts, Contacts]
    ) -> None:
        book, _ = books
        first, other, kept = (item.number for item in batch_of(0, 3))
        await book.add_do_not_call(first, source="voice", now=NOON, also=other)
        await book.add_do_not_call(kept, source="voice", now=NOON)

        assert await book.remove_do_not_call(first, also=other) == 2
        assert [entry.number for entry in await book.do_not_call_entries()] == [kept]


async def rows_read(url: str, written: int) -> int:
    """Return how many contacts and index entries the server has read, when it has counted."""
    question = """
        SELECT sum(n_tup_ins) / 2, sum(seq_tup_read), sum(idx_tup_fetch),
            (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'contacts')
        FROM pg_stat_user_tables WHERE relname IN ('contacts', 'consents')
    """
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with asyncio.timeout(60.0):
            counts = await connection.fetchrow(question)
            while counts[0] < written:
                await connection.execute("SELECT pg_sleep(0.05)")
                counts = await connection.fetchrow(question)
    finally:
        await connection.close()
    return int(counts[1] + counts[2] + counts[3])


async def test_a_batch_costs_the_same_however_many_contacts_there_are(
    postgres_url: str,
) -> None:
    book = Contacts(Database(postgres_url))
    for index in range(BATCHES):
        await book.add("spring", batch_of(index), now=NOON)
    for index in range(BATCHES):
        await book.add("spring", batch_of(index), now=NOON + 1)
    await book.database.close()

    # Each is looked up, and is found the second time, by one index.
    assert await rows_read(postgres_url, BATCHES * BATCH) < 8 * BATCHES * BATCH
