"""What calls came to: first what is known of each, then what a model wrote in its place."""

from dataclasses import asdict

from sqlalchemy import select

from operations.after_call.outcome_rules import CallResult
from operations.database.result_tables import CALL_RESULTS, CODE_LENGTH
from operations.database.tables import NUMBER_LENGTH
from operations.database.transactions import TransactionStore


class CallResults(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def put(self, result: CallResult) -> bool:
        """Keep a result; False: what a model wrote stands there, and stays."""
        row = asdict(result)
        for name in ("outcome", "campaign", "why", "provider"):
            row[name] = row[name][:CODE_LENGTH]
        row["number"] = row["number"][:NUMBER_LENGTH]
        added = self._work.insert(CALL_RESULTS).values(**row)
        kept = added.on_conflict_do_update(
            index_elements=["call_id"],
            set_={name: added.excluded[name] for name in row if name != "call_id"},
            where=CALL_RESULTS.c.made_by == "facts",
        )
        async with self._work.write() as connection:
            return (await connection.execute(kept)).rowcount > 0

    async def find(self, call_id: str) -> CallResult | None:
        """Return what a call came to; None: nobody wrote it down."""
        own = select(CALL_RESULTS).where(CALL_RESULTS.c.call_id == call_id)
        async with self._work.read() as connection:
            row = (await connection.execute(own)).mappings().first()
            return CallResult(**row) if row else None
