"""Spans for a collector: off by default, and one line for each mistake."""

from importlib.metadata import PackageNotFoundError

import pytest
from pydantic import ValidationError

from configuration import sections as traces
from configuration.sections import TracesSettings


def without(package: str) -> str:
    raise PackageNotFoundError(package)


def test_spans_are_off_by_default() -> None:
    assert TracesSettings().enabled is False


@pytest.mark.parametrize("url", ["http://collector:4318", "http://collector:4318/"])
def test_an_address_without_a_path_gets_the_usual_one(url: str) -> None:
    assert TracesSettings(url=url).url == "http://collector:4318/v1/traces"


def test_an_address_with_a_path_is_taken_as_it_is() -> None:
    assert TracesSettings(url="https://c/otlp/v1/traces").url == "https://c/otlp/v1/traces"


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="a URL without a password") as refused:
        TracesSettings(url="https://me:canary@c/v1/traces")

    assert "canary" not in str(refused.value.errors(include_input=False))


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "version", without)

    assert TracesSettings(enabled=False).enabled is False
    with pytest.raises(ValidationError, match=r'pip install "holdline\[traces\]"'):
        TracesSettings(enabled=True)
