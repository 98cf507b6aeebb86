"""What a machine lacks: its tests are skipped at a desk, and fail in CI, which installs it all."""

import os
from typing import NoReturn

import pytest


def report_absent(what: str) -> NoReturn:
    """Skip the test that asks; in CI let it fail, so that nobody stops looking without noticing."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}", pytrace=False)
    pytest.skip(f"no {what} on this machine")
