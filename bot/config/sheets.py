"""Whether calls and alerts are mirrored in a Google spreadsheet, and in which."""

import importlib.util
from pathlib import Path

from pydantic import model_validator

from bot.config.values import HttpUrl, Section


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
