"""The owner's register of customers: where it is, how it is asked and what it is told."""

import base64
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from bot.config.values import HttpUrl, Seconds, Section, Text


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
