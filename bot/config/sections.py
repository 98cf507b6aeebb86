"""Sections for work around calls: results, callbacks, CRM, holding, storage, sheets, traces."""

import base64
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

from bot.config.values import Count, CountOrZero, HttpUrl, Seconds, SecondsOrZero, Section, Text
from processors.holding.descent_rules import CLIPS, MENUS, STEPS, Step
from processors.holding.late_answer_rules import CLIP_S, FIRST_S, LAST_S, SILENCE_S, TURNS_APART

CODE: Final = r"^[a-z][a-z0-9_]{0,63}$"
ResultCode = Annotated[str, StringConstraints(pattern=CODE)]
"""A snake_case code, such as `wants_another_date`."""


class AfterCallSettings(Section):
    """Results of calls, written by a model."""

    enabled: bool | None = None  # `None` to enable it with a CRM or a campaign
    within_s: Annotated[Seconds, Field(le=600)] = 60.0  # then the known facts are used
    at_once: Annotated[Count, Field(le=32)] = 2  # calls
    results: tuple[ResultCode, ...] = ()  # of calls outside campaigns
    models: dict[str, Text] = Field(default_factory=dict)  # by rung; default: its own


class CallbacksSettings(Section):
    """The campaign that makes requested callbacks."""

    campaign: str = ""  # one of `campaigns`; empty if the staff calls back
    unclear_s: SecondsOrZero = 86_400.0  # delay if the requested time was not understood


class AmdSettings(Section):
    """Detection of mailboxes, menus and call-screening assistants."""

    listen: bool = True  # listen before speaking; false to greet at once
    screening: str = ""  # answer to a screening assistant; empty for the greeting


class CrmRequestSettings(Section):
    """One HTTP request to a CRM."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    """The HTTP method."""
    path: Text
    """The path after `crm.url`, with places such as `{number}`."""
    body: dict[str, Any] | None = None
    """The JSON body, with the same places."""


class CrmPeopleSettings(CrmRequestSettings):
    """The request for a page of people, for imports."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    found: Text = "results"  # path to the people of a page
    next: Text = "next"  # path to the next cursor; absent on the last page
    cursor: Text = "after"  # the cursor's query parameter; `{cursor}` in a body
    number: tuple[Text, ...] = ("number",)  # paths to a number; the first match counts


class CrmMappingSettings(Section):
    """The requests of `kind: rest`."""

    look_up: CrmRequestSettings | None = None
    found: str = ""  # path to the first person found, such as `results.0`
    contact_id: Text = "id"
    """The path to a person's id."""
    name: tuple[Text, ...] = ("name",)
    """The paths to the parts of a person's name."""
    fields: dict[str, str] = Field(default_factory=dict)
    """What else the model is told, by name: the path to it."""
    write: CrmRequestSettings | None = None
    people: CrmPeopleSettings | None = None
    idempotency_header: str = "Idempotency-Key"
    """The header that carries the key of a report."""


class CrmSettings(Section):
    """The customer database; off unless a kind is named."""

    kind: Literal["none", "own", "rest", "hubspot", "webhook"] = "none"
    """`own`: imported contacts and `file`. `rest` needs `mapping`."""
    url: HttpUrl | None = None
    """The register's address: https, unless it is a loopback or private address."""
    insecure: bool = False
    """Allow plain http to a public address."""
    token_env: str = "CRM_TOKEN"  # noqa: S105 - a variable's name
    token: SecretStr | None = None  # a bearer token; for a webhook, the signing secret
    file: Path | None = None  # a CSV file in addition to our own contacts
    timeout_s: Seconds = 5.0  # of one request
    greeting_s: Seconds = 0.15  # how long a greeting with a name waits for the name
    dials: Literal["none", "unreached", "all"] = "unreached"  # reported dials of campaigns
    columns: dict[str, str] = Field(default_factory=dict)  # columns of an import
    mapping: CrmMappingSettings | None = None

    @field_validator("token")
    @classmethod
    def _signs(cls, value: SecretStr | None, said: ValidationInfo) -> SecretStr | None:
        signs = said.data.get("kind") == "webhook"
        if value and signs and not _is_key(value.get_secret_value()):
            raise ValueError("whsec_ followed by base64 for `kind: webhook`")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind in ("rest", "webhook") and self.url is None:
            raise ValueError(f"`kind: {self.kind}` needs `url`")
        if self.kind == "rest" and self.mapping is None:
            raise ValueError("`kind: rest` needs `mapping`, with `look_up`, `write` or `people`")
        return self


def _is_key(secret: str) -> bool:
    """Return whether this secret can sign webhook requests."""
    packed = secret.removeprefix("whsec_")
    try:
        base64.b64decode(packed + "=" * (-len(packed) % 4))
    except ValueError:
        return False
    return True


class HoldLineSettings(Section):
    """Fillers, clips and the outage menu. Seconds count from the caller's last voiced sample."""

    first_s: Seconds = FIRST_S  # a filler, if no answer is expected soon
    last_s: Seconds = LAST_S  # a filler, even if one is expected
    clip_s: Seconds = CLIP_S  # a clip, if a filler is not allowed
    silence_s: Seconds = SILENCE_S  # the longest silence while the agent works on an answer
    turns_apart: Count = TURNS_APART  # from one filler to the next
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = STEPS
    clips: CountOrZero = CLIPS  # turns answered with clips before the menu is read
    menus: CountOrZero = MENUS  # readings of the menu
    utterances: Path | None = None  # `None` for Holdline's own texts
    clips_dir: Path | None = None  # `None` for `clips` in `logs.dir`
    render: bool = True  # render missing clips in the background

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.first_s <= self.last_s:
            raise ValueError("`first_s` must not be later than `last_s`")
        return self


DATABASE: Final = r"^[a-z][a-z0-9]*(\+[a-z0-9]+)?://"


class KeepDays(Section):
    """Days after which each kind of data is erased from the database."""

    calls: Count = 90  # with their turns: numbers, times, costs
    messages: Count = 30  # what was said
    happenings: Count = 30  # the whole timeline, which includes what was said
    failures: Count = 90  # of providers, with breaker moves
    voicemails: Count = 30  # with the recordings
    recordings: Count = 30  # of calls
    callbacks: Count = 90  # done or not
    alerts: Count = 90  # resolved ones


class StorageSettings(Section):
    """The database."""

    url: str = Field(default="sqlite+aiosqlite:///holdline.db", pattern=DATABASE)
    """The database, as SQLAlchemy writes addresses: `sqlite+aiosqlite:///FILE` or
    `postgresql+asyncpg://USER@HOST/NAME`.
    """
    keep_days: KeepDays = KeepDays()


class SheetsSettings(Section):
    """A spreadsheet with a row for each call and each change of an alert."""

    enabled: bool = False
    spreadsheet_id: str = ""  # the long part of its URL
    credentials_file_env: str = "GOOGLE_APPLICATION_CREDENTIALS"  # names the service account's file
    credentials_file: Path | None = None  # from the environment only
    calls_tab: str = "calls"
    """The tab for calls."""
    alerts_tab: str = "alerts"
    """The tab for alerts."""
    url: HttpUrl = "https://sheets.googleapis.com"
    """Another server with the same API."""

    @model_validator(mode="after")
    def _whole(self) -> "SheetsSettings":
        if not self.enabled:
            return self
        if importlib.util.find_spec("google") is None or not importlib.util.find_spec(
            "google.auth"
        ):
            cure = 'install it with .venv/bin/pip install "holdline[sheets]"'
            raise ValueError(f"it needs google-auth, which is not installed; {cure}")
        if not self.spreadsheet_id:
            raise ValueError("it needs spreadsheet_id, the long part of the spreadsheet's address")
        return self


NEEDS: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
PATH: Final = "/v1/traces"  # OTLP's default over HTTP, if the URL has no path


class TracesSettings(Section):
    """A span for each call, turn and attempt, sent over OTLP/HTTP."""

    enabled: bool = False
    """Send a span for each call, turn and attempt."""
    url: HttpUrl = f"http://127.0.0.1:4318{PATH}"
    """The collector, which speaks OTLP over HTTP. Without a path it gets `/v1/traces`."""

    @field_validator("url")
    @classmethod
    def _with_path(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password:
            raise ValueError("a URL without a password; headers go into OTEL_EXPORTER_OTLP_HEADERS")
        return value.rstrip("/") + PATH if parts.path in ("", "/") else value

    @model_validator(mode="after")
    def _installed(self) -> "TracesSettings":
        missing = [need for need in NEEDS if self.enabled and not _is_there(need)]
        if missing:
            cure = 'install it with .venv/bin/pip install "holdline[traces]"'
            raise ValueError(f"it needs {missing[0]}, which is not installed; {cure}")
        return self


def _is_there(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def near_address(host: str, port: int | str) -> str:
    """Return the server's base URL from this machine, such as `http://127.0.0.1:8080`."""
    near = "127.0.0.1" if host in ANYWHERE else host
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
