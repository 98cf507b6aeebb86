"""What is found out about a call after its end, and which campaign calls people back."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from bot.config.values import Count, Seconds, SecondsOrZero, Section, Text

CODE: Final = r"^[a-z][a-z0-9_]{0,63}$"
ResultCode = Annotated[str, StringConstraints(pattern=CODE)]
"""A snake_case code, such as `wants_another_date`."""


class AfterCallSettings(Section):
    """Who writes down what a call came to."""

    enabled: bool | None = None  # None: where there is a register, or a campaign
    within_s: Annotated[Seconds, Field(le=600)] = 60.0  # of the end; then what is known has to do
    at_once: Annotated[Count, Field(le=32)] = 2  # calls
    results: tuple[ResultCode, ...] = ()  # of calls that are no campaign's
    models: dict[str, Text] = Field(default_factory=dict)  # by the rung's name; else the rung's own


class CallbacksSettings(Section):
    """Which campaign calls those back who asked for it."""

    campaign: str = ""  # one of `campaigns`; empty: the staff does
    unclear_s: SecondsOrZero = 86_400.0  # of rest, where they said when and nobody understood it
