"""Whether calls are told as OpenTelemetry's spans, and to whom."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from bot.config.values import HttpUrl, Section

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
        missing = [each for each in NEEDS if self.enabled and not _is_there(each)]
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
