"""The clock of a database that several machines share, for moments that all of them read."""

from collections.abc import Callable
from math import inf
from typing import Final

from sqlalchemy import text

from operations.database.database import Database

MEASURE_EVERY_S: Final = 60.0  # chosen: clocks drift apart by far less than 0.1 s in this time
NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())")


class DatabaseClock:
    """Seconds since 1970, by PostgreSQL's clock; by this machine's if the database is a file.

    Until `measure` has succeeded, they are by this machine's clock.
    """

    def __init__(
        self, database: Database, *, utc_s: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        """Follow the clock of `database`, by this machine's clocks in seconds."""
        self._database, self._utc_s, self._monotonic = database, utc_s, monotonic
        self._began_s: float | None = None  # when the monotonic clock was 0; `None`: not measured
        self._measured_at = -inf

    def now_s(self) -> float:
        """Return the seconds since 1970."""
        return self._utc_s() if self._began_s is None else self._monotonic() + self._began_s

    async def measure(self) -> None:
        """Ask for the database's time, unless it is a file, or was asked within `MEASURE_EVERY_S`.

        Raises:
            StorageError: The database does not answer.
        """
        before = self._monotonic()
        if self._database.file is not None or before - self._measured_at < MEASURE_EVERY_S:
            return
        async with self._database.reading() as connection:
            before = self._monotonic()
            now_s = float((await connection.execute(NOW)).scalar_one())
        self._measured_at = self._monotonic()
        self._began_s = now_s - (before + self._measured_at) / 2
