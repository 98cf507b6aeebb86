"""Outbound campaigns: whom they say they are, when they call, how often and how fast."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from bot.config.sections import AmdSettings, ResultCode
from bot.config.values import (
    NAME,
    Count,
    DayTime,
    Seconds,
    SecondsOrZero,
    Section,
    Text,
    Zone,
)
from calls.outbound import DialOutcome
from campaigns.model import RULES, CallingWindow, Campaign, OnOutage, RetryRule
from processors.answerer.answerer_rules import MachineListening

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DayName = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _as_region(value: Any) -> Any:
    """Give Norway its name back: YAML reads `NO` as false."""
    return "NO" if value is False else value


def _as_prefix(value: Any) -> Any:
    """Give a prefix its plus back: YAML reads `+49` as an integer."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"+{value}" if is_number else value


REGION_OR_NONE: Final = r"^([A-Z]{2})?$"  # ISO 3166-1
PREFIX: Final = r"^\+[1-9][0-9]{0,14}$"
DAYS_END: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
CampaignName = Annotated[str, StringConstraints(pattern=NAME)]
Region = Annotated[str, BeforeValidator(_as_region), StringConstraints(pattern=REGION_OR_NONE)]
Prefix = Annotated[str, BeforeValidator(_as_prefix), StringConstraints(pattern=PREFIX)]
RetriedOutcome = Literal["busy", "no_answer", "voicemail", "failed", "cancelled", "agent_failed"]


class ContactRetrySettings(Section):
    """What follows from an outcome."""

    again: bool = True
    rest_s: SecondsOrZero | None = None  # None: the campaign's
    counts: bool | None = None  # against the contact's attempts; None: as it is without a rule
    most: Count = 5  # dials that did not count, and then no more


class WindowSettings(Section):
    """The hours at which people may be called, by their own clocks."""

    begin: DayTime = "08:00"
    end: Annotated[str, Field(pattern=DAYS_END)] = "21:00"
    days: Annotated[tuple[DayName, ...], Field(min_length=1)] = DAYS
    default_zone: Zone | None = None  # of numbers of which nobody knows where they are

    @field_validator("end", mode="before")
    @classmethod
    def _end(cls, value: Any) -> Any:
        """Give the time its colon back: YAML reads `21:00` as 1260."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return f"{value // 60:02}:{value % 60:02}" if is_number else value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.begin >= self.end:
            raise ValueError("`begin` must be before `end`, on one day")
        return self


class CampaignSettings(Section):
    """One campaign."""

    agent: str = ""  # one of `agents`; empty: `agent`
    script: str = ""
    goals: tuple[Text, ...] = ()
    results: tuple[ResultCode, ...] = ()  # what a call may come to, beside what any call may
    disclosure: str = ""
    greeting: str = ""  # behind the disclosure; `{name}` and the contact's fields are filled in
    prefixes: tuple[Prefix, ...] = ()
    region: Region = ""
    consent_required: bool = True
    daily_calls: Count | None = None
    daily_spend: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    zone: Zone = "UTC"
    window: WindowSettings = WindowSettings()
    attempts: Count = 3
    rest_s: SecondsOrZero = 3600.0
    dials_per_minute: Seconds = 30.0
    concurrent: Count = 5
    retry: dict[RetriedOutcome, ContactRetrySettings] = Field(default_factory=dict)
    on_outage: OnOutage = "hold"
    voicemail_text: str = ""
    amd: AmdSettings = AmdSettings()


def campaign_of(name: str, settings: CampaignSettings) -> Campaign:
    """Return what a campaign's decisions go by."""
    plain = {
        key: value
        for key, value in settings
        if key not in ("window", "retry", "amd") and key in Campaign.__dataclass_fields__
    }
    rules = {
        DialOutcome(outcome): _rule(RULES[DialOutcome(outcome)], rule)
        for outcome, rule in settings.retry.items()
    }
    amd = MachineListening(listen=settings.amd.listen, screening=settings.amd.screening)
    return Campaign(name=name, window=_window(settings.window), retry=rules, amd=amd, **plain)


def _rule(usual: RetryRule, said: ContactRetrySettings) -> RetryRule:
    return RetryRule(
        again=said.again,
        rest_s=usual.rest_s if said.rest_s is None else said.rest_s,
        counts=usual.counts if said.counts is None else said.counts,
        most=said.most,
    )


def _window(settings: WindowSettings) -> CallingWindow:
    return CallingWindow(
        opens_s=_seconds(settings.begin),
        closes_s=_seconds(settings.end),
        days=frozenset(DAYS.index(day) for day in settings.days),
        default_zone=settings.default_zone or "",
    )


def _seconds(day_time: str) -> float:
    hours, _, minutes = day_time.partition(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0
