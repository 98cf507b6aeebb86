"""Sections for work around calls: results, callbacks, CRM, holding, storage, sheets, traces."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from configuration.values import (
    Count,
    CountOrZero,
    HttpUrl,
    Seconds,
    SecondsOrZero,
    Section,
    Text,
    signing_key,
)
from processors.holding.late_answer_rules import CLIP_S, FIRST_S, LAST_S, SILENCE_S, TURNS_APART
from processors.holding.outage_rules import CLIPS, MENUS, STEPS, Step
from runtime.exits import install_command

CODE: Final = r"^[a-z][a-z0-9_]{0,63}$"
ResultCode = Annotated[str, StringConstraints(pattern=CODE)]
"""A snake_case code, such as `wants_another_date`."""


class AfterCallSettings(Section):
    """Results of calls, written by a model."""

    enabled: bool | None = None
    """Let the model write a summary, an outcome and notes after each call. By default on with a
    `crm` or a campaign.
    """
    within_s: Annotated[Seconds, Field(le=600)] = 60.0
    """How long the model may take. After that, the outcome is derived from the call's events."""
    at_once: Annotated[Count, Field(le=32)] = 2
    """The most calls that are summarised at the same time."""
    results: tuple[ResultCode, ...] = ()
    """Codes of possible results, by default `goal_reached`. Campaigns may have their own."""
    models: dict[str, Text] = Field(default_factory=dict)
    """Other models for this work only, by rung: `{openai: gpt-4.1}`."""


class CallbacksSettings(Section):
    """The campaign that makes requested callbacks."""

    campaign: str = ""
    """The campaign that calls back the people who asked for it. Empty: your staff calls back."""
    unclear_s: SecondsOrZero = 86_400.0
    """How long after the request to call if the time that was asked for is unclear."""


class AmdSettings(Section):
    """Detection of mailboxes, menus and call-screening assistants."""

    listen: bool = True
    """Find out who picked up before anything is said. Off: greet at once."""
    screening: str = ""
    """The reply to a call-screening assistant that asks who is calling. Empty: the greeting."""


class CrmRequestSettings(Section):
    """One HTTP request to a CRM."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    """The HTTP method."""
    path: Text
    """The path after `crm.url`, with placeholders such as `{number}`."""
    body: dict[str, Any] | None = None
    """The JSON body, with the same placeholders."""


class CrmPeopleSettings(CrmRequestSettings):
    """The request for a page of people, for imports."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    """The HTTP method."""
    found: Text = "results"
    """The path to the list of people in a response."""
    next: Text = "next"
    """The path to the cursor or URL of the next page. The last page has none."""
    cursor: Text = "after"
    """The query parameter for the cursor. A body has `{cursor}` instead."""
    number: tuple[Text, ...] = ("number",)
    """Paths to a person's numbers. The first that is not empty is used."""


class CrmMappingSettings(Section):
    """The requests of `kind: rest`."""

    look_up: CrmRequestSettings | None = None
    found: str = ""
    """The path to the first person in the response, such as `results.0`."""
    contact_id: Text = "id"
    """The path to a person's id."""
    name: tuple[Text, ...] = ("name",)
    """The paths to the parts of a person's name."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Further fields for the model: the path to each, by name."""
    write: CrmRequestSettings | None = None
    people: CrmPeopleSettings | None = None
    idempotency_header: str = "Idempotency-Key"
    """The header that carries a report's idempotency key."""


class CrmSettings(Section):
    """The customer database; off unless a kind is named."""

    kind: Literal["none", "own", "rest", "hubspot", "webhook"] = "none"
    """`own`: imported contacts and `file`. `rest` needs `mapping`."""
    url: HttpUrl | None = None
    """The CRM's address: https, unless it is a loopback or private address."""
    insecure: bool = False
    """Allow plain http to a public address."""
    token_env: str = "CRM_TOKEN"  # noqa: S105 - a variable's name
    """The variable that holds the bearer token or, for a webhook, the signing secret (`whsec_` and
    base64).
    """
    token: SecretStr | None = None  # a bearer token; for a webhook, the signing secret
    file: Path | None = None
    """A CSV file of contacts, as `campaign import` reads it, in addition to imported contacts."""
    timeout_s: Seconds = 5.0
    """The longest that one request may take."""
    greeting_s: Seconds = 0.15
    """How long a greeting with `{name}` in it waits for the name."""
    dials: Literal["none", "unreached", "all"] = "unreached"
    """The dials of campaigns to report besides calls. `unreached`: busy, no answer, failed."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Further columns of an import: the path or property of each, by column."""
    mapping: CrmMappingSettings | None = None

    @field_validator("token")
    @classmethod
    def _check_signing_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse a token of `kind: webhook` that is not a signing secret."""
        if value and info.data.get("kind") == "webhook":
            try:
                signing_key(value.get_secret_value())
            except ValueError as error:
                raise ValueError("whsec_ followed by base64 for `kind: webhook`") from error
        return value

    @model_validator(mode="after")
    def _require_parts(self) -> Self:
        """Check that a kind of CRM has the address and the mapping that it needs."""
        if self.kind in ("rest", "webhook") and self.url is None:
            raise ValueError(f"`kind: {self.kind}` needs `url`")
        if self.kind == "rest" and self.mapping is None:
            raise ValueError("`kind: rest` needs `mapping`, with `look_up`, `write` or `people`")
        return self


class HoldLineSettings(Section):
    """Fillers, clips and the outage menu. Seconds count from the caller's last voiced sample."""

    first_s: Seconds = FIRST_S
    """When a filler ("One moment") is said if no answer is expected soon."""
    last_s: Seconds = LAST_S
    """When a filler is said even if an answer is expected soon."""
    clip_s: Seconds = CLIP_S
    """When a whole sentence is said, in turns without a filler."""
    silence_s: Seconds = SILENCE_S
    """The longest silence while the agent works on an answer, or within one."""
    turns_apart: Count = TURNS_APART
    """The fewest turns from one filler to the next."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = STEPS
    """What callers get while a stage has no usable provider. `clip`: a prepared sentence that fits.
    `local`: the local voice speaks what no other voice could. `words`: a menu by voice, in English.
    `keypad`: a menu by keypad. `chosen`: what the caller has chosen. `goodbye`: the end. Leave out
    what you do not want.
    """
    clips: CountOrZero = CLIPS
    """Turns that get clips before the menu is read."""
    menus: CountOrZero = MENUS
    """How often the menu is read, for `words` and `keypad` together."""
    utterances: Path | None = None
    """A file with your own texts, in the format of `processors/holding/utterances.yaml`.
    `holdline texts --language XX` prints one to translate. What it lacks is taken from Holdline's.
    """
    clips_dir: Path | None = None
    """Where clips are kept. By default `clips` in `logs.dir`."""
    render: bool = True
    """Let `holdline serve` render missing clips in the background, not only `holdline clips`."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.first_s <= self.last_s:
            raise ValueError("`first_s` must not be later than `last_s`")
        return self


DATABASE: Final = r"^[a-z][a-z0-9]*(\+[a-z0-9]+)?://"


class KeepDays(Section):
    """Days after which each kind of data is erased from the database."""

    calls: Count = 90
    """Calls and their turns: who called, when, durations and costs."""
    messages: Count = 30
    """What was said."""
    happenings: Count = 30
    """The whole timeline, which also holds what was said."""
    failures: Count = 90
    """Failures of providers, and transitions of their breakers."""
    voicemails: Count = 30
    """Messages that callers left, with their recordings."""
    recordings: Count = 30
    """Recordings of calls."""
    callbacks: Count = 90
    """Callback requests."""
    alerts: Count = 90
    """Alerts that have ended."""


class StorageSettings(Section):
    """The database."""

    url: str = Field(default="sqlite+aiosqlite:///holdline.db", pattern=DATABASE)
    """The database's SQLAlchemy URL: `sqlite+aiosqlite:///FILE` or
    `postgresql+asyncpg://USER@HOST/NAME`.
    """
    keep_days: KeepDays = KeepDays()


class SheetsSettings(Section):
    """A spreadsheet with a row for each call and each change of an alert."""

    enabled: bool = False
    """Write a row for each call, and for each alert when it begins and ends."""
    spreadsheet_id: str = ""
    """The spreadsheet's id: the long part of its address."""
    credentials_file_env: str = "GOOGLE_APPLICATION_CREDENTIALS"
    """The variable that names the service account's key file."""
    credentials_file: Path | None = None
    """Set from that variable only."""
    calls_tab: str = "calls"
    """The tab for calls."""
    alerts_tab: str = "alerts"
    """The tab for alerts."""
    url: HttpUrl = "https://sheets.googleapis.com"
    """The API's address."""

    @model_validator(mode="after")
    def _require_parts(self) -> "SheetsSettings":
        """Check the package and the id that an enabled spreadsheet needs."""
        if not self.enabled:
            return self
        if importlib.util.find_spec("google") is None or not importlib.util.find_spec(
            "google.auth"
        ):
            cure = f"install it with {install_command('holdline[sheets]')}"
            raise ValueError(f"it needs google-auth, which is not installed; {cure}")
        if not self.spreadsheet_id:
            raise ValueError("it needs spreadsheet_id, the long part of the spreadsheet's address")
        return self


TRACES_PACKAGES: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
TRACES_PATH: Final = "/v1/traces"  # OTLP's default over HTTP, if the URL has no path


class TracesSettings(Section):
    """A span for each call, turn and attempt, sent over OTLP/HTTP."""

    enabled: bool = False
    """Send a span for each call, turn and attempt."""
    url: HttpUrl = f"http://127.0.0.1:4318{TRACES_PATH}"
    """The collector's OTLP/HTTP address. Without a path, `/v1/traces` is added."""

    @field_validator("url")
    @classmethod
    def _add_path(cls, value: str) -> str:
        """Add OTLP's path to a URL that has none; refuse a URL with a password."""
        parts = urlsplit(value)
        if parts.username or parts.password:
            raise ValueError("a URL without a password; headers go into OTEL_EXPORTER_OTLP_HEADERS")
        return value.rstrip("/") + TRACES_PATH if parts.path in ("", "/") else value

    @model_validator(mode="after")
    def _check_installed(self) -> "TracesSettings":
        """Check that the packages for traces are installed, if they are enabled."""
        missing = [need for need in TRACES_PACKAGES if self.enabled and not _is_installed(need)]
        if missing:
            cure = f"install it with {install_command('holdline[traces]')}"
            raise ValueError(f"it needs {missing[0]}, which is not installed; {cure}")
        return self


def _is_installed(package: str) -> bool:
    """Return whether a distribution of this name is installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def near_address(host: str, port: int | str) -> str:
    """Return the server's base URL as seen from this machine, such as `http://127.0.0.1:8080`."""
    near = "127.0.0.1" if host in ANYWHERE else host
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
