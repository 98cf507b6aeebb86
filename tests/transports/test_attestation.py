"""A carrier's attestation reaches the call's facts, and nothing else does."""

from typing import Any

import pytest

from calls.caller import attestation_from
from transports.media_stream.webhooks import call_in
from transports.telnyx.routes import _carried_call


@pytest.mark.parametrize(
    ("verstat", "known"),
    [
        ("TN-Validation-Passed-A", "A"),
        ("TN-Validation-Passed-B", "B"),
        ("TN-Validation-Passed-C", "C"),
        ("TN-Validation-Failed", "failed"),
        ("TN-Validation-Failed-A", "failed"),
        ("TN-Validation-Failed-C", "failed"),
        ("No-TN-Validation", "unknown"),
        ("TN-Validation-Passed-A-Diverted", "unknown"),
        ("TN-Validation-Passed", "unknown"),
        ("TN-Validation-Passed-A\n", "unknown"),
        ("tn-validation-passed-a", "unknown"),
        ("A", "unknown"),
        ("", "unknown"),
    ],
)
def test_only_documented_values_are_an_attestation(verstat: str, known: str) -> None:
    assert attestation_from(verstat) == known
    form = {"From": "+15550142", "StirVerstat": verstat}
    assert call_in(form, call_ref="CA1").attestation == known


def test_a_form_without_an_attestation_is_unknown() -> None:
    assert call_in({"From": "+15550142"}, call_ref="CA1").attestation == "unknown"


@pytest.mark.parametrize(
    ("payload", "known"),
    [
        ({"shaken_stir_attestation": "A", "shaken_stir_validated": True}, "A"),
        ({"shaken_stir_attestation": "C", "shaken_stir_validated": True}, "C"),
        ({"shaken_stir_attestation": "A", "shaken_stir_validated": False}, "failed"),
        ({"shaken_stir_attestation": "A", "shaken_stir_validated": "true"}, "unknown"),
        ({"shaken_stir_attestation": "A"}, "unknown"),
        ({"shaken_stir_validated": True}, "unknown"),
        ({"shaken_stir_attestation": ["A"], "shaken_stir_validated": True}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_telnyx_says_whether_it_could_check(payload: dict[str, Any], known: str) -> None:
    assert _carried_call("v3:x", payload).attestation == known
