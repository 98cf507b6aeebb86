"""Where a server is reached from the machine that it runs on."""

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


class AmdSettings(Section):
    """Listening for mailboxes, menus and telephones' assistants."""

    listen: bool = True  # before anything is said; off: whoever picks up is greeted at once
    screening: str = ""  # to an assistant that asks who calls and why; empty: the greeting


class CrmRequestSettings(Section):
    """One request of a register that is asked over HTTP."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    path: Text
    body: dict[str, Any] | None = None


class CrmPeopleSettings(CrmRequestSettings):
    """How pages of people are asked for, for an import."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    found: Text = "results"  # the path to the people of a page
    next: Text = "next"  # the path to where the next page begins; nothing there: it was the last
    cursor: Text = "after"  # the name under which that is asked for; `{cursor}` in a body
    number: tuple[Text, ...] = ("number",)  # the paths to a number; the first that holds one


class CrmMappingSettings(Section):
    """Which request means what, for `kind: rest`."""

    look_up: CrmRequestSettings | None = None
    found: str = ""  # the path to the first person found, such as `results.0`
    contact_id: Text = "id"
    name: tuple[Text, ...] = ("name",)
    fields: dict[str, str] = Field(default_factory=dict)
    write: CrmRequestSettings | None = None
    people: CrmPeopleSettings | None = None
    idempotency_header: str = "Idempotency-Key"


class CrmSettings(Section):
    """Off unless a kind is named."""

    kind: Literal["none", "own", "rest", "hubspot", "webhook"] = "none"
    url: HttpUrl | None = None
    insecure: bool = False  # allows plain http to a public address
    token_env: str = "CRM_TOKEN"  # noqa: S105 - a variable's name
    token: SecretStr | None = None  # a bearer token; what signs, for a webhook
    file: Path | None = None  # a CSV file beside our own contacts
    timeout_s: Seconds = 5.0  # of one request
    greeting_s: Seconds = 0.15  # that a greeting with a name in it waits for the name
    dials: Literal["none", "unreached", "all"] = "unreached"  # of campaigns: which are reported
    columns: dict[str, str] = Field(default_factory=dict)  # of an import: where each stands
    mapping: CrmMappingSettings | None = None

    @field_validator("token")
    @classmethod
    def _signs(cls, value: SecretStr | None, said: ValidationInfo) -> SecretStr | None:
        signs = said.data.get("kind") == "webhook"
        if value and signs and not _is_key(value.get_secret_value()):
            raise ValueError("base64 behind whsec_ for `kind: webhook`")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind in ("rest", "webhook") and self.url is None:
            raise ValueError(f"`kind: {self.kind}` needs `url`")
        if self.kind == "rest" and self.mapping is None:
            raise ValueError("`kind: rest` needs `mapping`, with `look_up`, `write` or `people`")
        return self


def _is_key(secret: str) -> bool:
    """Return whether what is sent to a webhook can be signed with this."""
    packed = secret.removeprefix("whsec_")
    try:
        base64.b64decode(packed + "=" * (-len(packed) % 4))
    except ValueError:
        return False
    return True


class HoldLineSettings(Section):
    """Fillers, clips, and the way down. Seconds count from the caller's last voiced sample."""

    first_s: Seconds = FIRST_S  # a filler, when no answer is expected soon
    last_s: Seconds = LAST_S  # a filler, even if one is
    clip_s: Seconds = CLIP_S  # a clip, where a filler may not be
    silence_s: Seconds = SILENCE_S  # the longest silence while the agent works on an answer
    turns_apart: Count = TURNS_APART  # from one filler to the next
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = STEPS
    clips: CountOrZero = CLIPS  # turns that are met with clips before the menu is read
    menus: CountOrZero = MENUS  # readings of the menu
    utterances: Path | None = None  # None: the texts that come with Holdline
    clips_dir: Path | None = None  # None: `clips` in `logs.dir`
    render: bool = True  # clips that are missing are rendered in the background

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.first_s <= self.last_s:
            raise ValueError("`first_s` must not be later than `last_s`")
        return self


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


class SheetsSettings(Section):
    """A row for each call and each change of an alert, for people who work in a spreadsheet."""

    enabled: bool = False
    spreadsheet_id: str = ""  # the long part of its address
    credentials_file_env: str = "GOOGLE_APPLICATION_CREDENTIALS"  # names the service account's file
    credentials_file: Path | None = None  # from the environment only
    calls_tab: str = "calls"
    alerts_tab: str = "alerts"
    url: HttpUrl = "https://sheets.googleapis.com"

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
PATH: Final = "/v1/traces"  # OTLP's own over HTTP, when the address names none


class TracesSettings(Section):
    """A span for each call, turn and attempt, for a collector that speaks OTLP over HTTP."""

    enabled: bool = False
    url: HttpUrl = f"http://127.0.0.1:4318{PATH}"

    @field_validator("url")
    @classmethod
    def _with_path(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password:
            raise ValueError("put no password into it; OTEL_EXPORTER_OTLP_HEADERS holds headers")
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
    """Return the base of its URLs, such as `http://127.0.0.1:8080`."""
    near = "127.0.0.1" if host in ANYWHERE else host
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
