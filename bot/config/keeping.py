"""Where facts are kept, and for how long each kind of them."""

from typing import Final

from pydantic import Field

from bot.config.values import Count, Section

DATABASE: Final = r"^[a-z][a-z0-9]*(\+[a-z0-9]+)?://"


class KeepDays(Section):
    """Days after which each kind is erased from the database."""

    calls: Count = 90  # with their turns: who called, when, what it took, what it cost
    messages: Count = 30  # what was said
    happenings: Count = 30  # the whole timeline, which holds what was said, too
    failures: Count = 90  # of providers, with how their breakers moved
    voicemails: Count = 30  # with the recordings
    recordings: Count = 30  # of calls
    callbacks: Count = 90  # met or not
    alerts: Count = 90  # that are over


class StorageSettings(Section):
    """Where facts are kept."""

    url: str = Field(default="sqlite+aiosqlite:///holdline.db", pattern=DATABASE)
    keep_days: KeepDays = KeepDays()
