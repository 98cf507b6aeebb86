"""The sentence about a rung that only a person can mend."""

import pytest

from fallbacks.failure import Kind
from fallbacks.refusals import Vendor, explain, unusable

OPENAI = Vendor(title="OpenAI", key="OPENAI_API_KEY", place="stages.llm openai")


@pytest.mark.parametrize(
    ("kind", "reason", "sentence"),
    [
        # The reasons are those of a probe, a request, an upgrade, a close, and of no details.
        (Kind.AUTH, "api.openai.com answered 401", "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.AUTH, "401 invalid_api_key", "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.AUTH, "401 at the upgrade", "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.AUTH, "closed with 1008 invalid key", "OpenAI rejects OPENAI_API_KEY"),
        (Kind.AUTH, "", "OpenAI rejects OPENAI_API_KEY"),
        (
            Kind.AUTH,
            "api.openai.com answered 403: our key lacks a permission",
            "OpenAI accepts OPENAI_API_KEY, but it lacks a permission (403)",
        ),
        (Kind.QUOTA, "402 no credit", "OpenAI has no credit left for OPENAI_API_KEY (402)"),
        (
            Kind.NOT_FOUND,
            "404 model_not_found",
            "OpenAI does not know the model, the voice or the address of stages.llm openai (404)",
        ),
        (Kind.TIMEOUT, "no answer in 3 s", "no answer in 3 s"),
        (Kind.BAD_REQUEST, "400 bad option", "400 bad option"),
    ],
)
def test_a_refusal_names_the_vendor_the_variable_and_the_status(
    kind: Kind, reason: str, sentence: str
) -> None:
    assert explain(kind, reason, OPENAI) == sentence


def test_without_a_known_vendor_the_reason_stays() -> None:
    assert explain(Kind.AUTH, "401", None) == "401"
    assert unusable("401", None) == "401"


def test_a_failure_that_needs_no_person_gets_the_vendors_name() -> None:
    assert unusable("127.0.0.1:9: gone", OPENAI) == "OpenAI is not usable (127.0.0.1:9: gone)"
    assert unusable("OpenAI rejects it", OPENAI) == "OpenAI rejects it"
