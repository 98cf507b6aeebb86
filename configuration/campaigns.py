"""Settings of outbound calls and campaigns: allowed numbers, script, hours, retries, limits."""

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from configuration.sections import AmdSettings, ResultCode
from configuration.values import (
    NAME,
    Count,
    DayTime,
    NumberShape,
    Prefix,
    Region,
    RegionOrNone,
    Seconds,
    SecondsOrZero,
    Section,
    Text,
    Zone,
)

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DayName = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


DAYS_END: Final = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
CampaignName = Annotated[str, StringConstraints(pattern=NAME)]
OnOutage: TypeAlias = Literal["hold", "skip", "degraded"]
"""While one of our stages is down: wait, put the contact back for later, or call anyway."""
RetriedOutcome = Literal[
    "busy", "no_answer", "silent", "voicemail", "failed", "cancelled", "agent_failed"
]


CostClass = Literal[
    "premium", "shared_cost", "satellite", "personal", "pager", "voicemail", "unknown"
]


def _one_country(value: str) -> str:
    """Refuse a prefix that several countries share: +1 is also Jamaica."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE as REGIONS  # noqa: PLC0415

    digits = value.removeprefix("+")
    shared = [
        region
        for code, regions in REGIONS.items()
        if str(code).startswith(digits)
        for region in regions
    ]
    if len(shared) > 1:
        some = ", ".join(shared[:3]) + (", …" if len(shared) > 3 else "")
        raise ValueError(f"longer, or a country in `countries`: {some} begin like this")
    return value


class OutboundSettings(Section):
    """The numbers that may be called, and the limits of all outbound calls and transfers."""

    countries: tuple[Region, ...] = ()
    """Countries whose numbers may be called, such as `[DE, AT]` (ISO 3166-1). Nothing is called
    before this or `prefixes` is set.
    """
    prefixes: tuple[Annotated[Prefix, AfterValidator(_one_country)], ...] = ()
    """Prefixes of further numbers that may be called, such as +4930. A prefix that several
    countries share, such as +1, is refused. A longer one that the main country uses, too, such as
    +447, opens no other country.
    """
    denied: tuple[NumberShape, ...] = ()
    """Numbers that are never called, wherever they are: prefixes in which a dot stands for any
    digit, such as +1...976.
    """
    cost_classes: tuple[CostClass, ...] = ()
    """Costly classes of numbers that may be called in these countries. `unknown`: numbers outside
    all known ranges. Emergency numbers are never called.
    """
    concurrent: Count | None = None
    """Calls at once. By default `server.max_calls`. This and the next three limits apply to all
    workers together, and count calls and transfers separately.
    """
    hourly: Count = 300
    """Calls within an hour."""
    daily_minutes: Count = 600
    """Minutes within 24 hours. Once they are used, no further call is placed."""
    number_daily: Count = 5
    """Calls to one number within 24 hours, by all campaigns together. Transfers do not count."""


class ContactRetrySettings(Section):
    """What follows a dial with a certain outcome."""

    again: bool = True
    """Dial again after this outcome."""
    rest_s: SecondsOrZero | None = None
    """Time before the contact is dialled again. By default the same as without this rule."""
    counts: bool | None = None
    """Count the dial against `attempts`. By default the same as without this rule."""
    most: Count = 5
    """The most dials of a contact that do not count. After that many, it is not dialled again."""


class WindowSettings(Section):
    """Calling hours, in the callee's local time."""

    begin: DayTime = "08:00"
    """When calls may begin, in the contact's local time."""
    end: Annotated[str, Field(pattern=DAYS_END)] = "21:00"
    """When calls may no longer begin, in the contact's local time."""
    days: Annotated[tuple[DayName, ...], Field(min_length=1)] = DAYS
    """The days on which people may be called."""
    default_zone: Zone | None = None
    """The time zone of numbers whose location is unknown. If not set, they are not called."""

    @field_validator("end", mode="before")
    @classmethod
    def _restore_colon(cls, value: Any) -> Any:
        """Restore the time's colon: YAML reads `21:00` as 1260."""
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return f"{value // 60:02}:{value % 60:02}" if is_number else value

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        """Check that the hours begin before they end."""
        if self.begin >= self.end:
            raise ValueError("`begin` must be before `end`, on one day")
        return self


class CampaignSettings(Section):
    """One campaign."""

    agent: str = ""
    """The agent that calls, one of `agents`. Empty: `agent`."""
    script: str = ""
    """What the call is about. May contain `{name}` and other columns of the contact; a row without
    a value for one of them is refused.
    """
    goals: tuple[Text, ...] = ()
    """What the call should achieve, for the model."""
    results: tuple[ResultCode, ...] = ()
    """Codes of possible results, such as `date_found`, in addition to those of every call."""
    disclosure: str = ""
    """The first sentence, which cannot be interrupted."""
    greeting: str = ""
    """Said after the disclosure. May contain `{name}` and other columns of the contact."""
    prefixes: tuple[Prefix, ...] = ()
    """Only numbers that begin with one of these are called. Empty: all that `outbound` allows."""
    region: RegionOrNone = ""
    """The country of numbers without a country code, such as `DE`; by default `server.region`."""
    consent_required: bool = True
    """Refuse contacts without the kind, date and source of their consent."""
    daily_calls: Count | None = None
    """The most calls in a day."""
    daily_spend: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The most that a day's calls may cost. The carrier's and the providers' prices are added
    without conversion, so both must be in the currency of the carrier's account.
    """
    zone: Zone = "UTC"
    """The time zone in which the day of the daily limits begins at midnight."""
    window: WindowSettings = WindowSettings()
    attempts: Count = 3
    """The most dials of a contact, without those that do not count (`retry`)."""
    rest_s: SecondsOrZero = 3600.0
    """Time between two dials of a contact."""
    dials_per_minute: Seconds = 30.0
    """The most dials of the campaign in a minute, by all processes together."""
    concurrent: Count = 5
    """Calls at once."""
    retry: dict[RetriedOutcome, ContactRetrySettings] = Field(default_factory=dict)
    """Rules for a contact by the outcome of its last dial."""
    on_outage: OnOutage = "hold"
    """While one of our stages is down: `hold` waits, `skip` puts the contact back for later and
    takes the next one, `degraded` calls anyway.
    """
    voicemail_text: str = ""
    """Said to an answering machine after the beep. Empty: hang up."""
    amd: AmdSettings = AmdSettings()
