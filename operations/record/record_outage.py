"""That the database takes no record: told once when it begins, and once when it is over."""

from collections.abc import Callable

from loguru import logger

from calls.events import Event, RecordHalted, RecordResumed


class RecordOutage:
    """Whether the record is being written."""

    def __init__(self, *, tell: Callable[[Event], None], clock: Callable[[], float]) -> None:
        """Begin with a database that takes everything."""
        self._tell = tell
        self._clock = clock
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether the database takes nothing now."""
        return self._since is not None

    def note_away(self, why: str) -> None:
        """Tell that a batch was not taken, unless that is known."""
        if self._since is None:
            self._since = self._clock()
            logger.error("the record cannot be written: {}", why)
            self._tell(RecordHalted(reason=why))

    def note_back(self, *, lost_entries: int) -> None:
        """Tell that one was taken again, if that is news, and how many entries were lost so far."""
        if self._since is not None:
            after_s, self._since = self._clock() - self._since, None
            logger.info("the record is written again; {} entries were lost", lost_entries)
            self._tell(RecordResumed(after_s=after_s, lost_entries=lost_entries))
