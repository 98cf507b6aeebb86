"""Optional programs: tests that need a missing one are skipped locally and fail in CI."""

import os
from typing import NoReturn

import pytest


def report_absent(what: str) -> NoReturn:
    """Skip the calling test; in CI fail it, so that a missing program is noticed."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}", pytrace=False)
    pytest.skip(f"no {what} on this machine")
