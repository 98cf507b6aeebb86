"""A CRM configuration that could never accept a call is refused at the start, in one line."""

import pytest

from operations.remote import signature
from tests.configuration.reading import read, refused

PACKED = "c2VjcmV0" * 4
WEBHOOK = 'crm: {kind: webhook, url: "https://crm.example.com/calls"}\n'
OTHER = 'crm: {kind: rest, url: "https://crm.example.com", mapping: {}}\n'


@pytest.mark.parametrize(
    "token",
    [
        *("secret-1", f"{PACKED}_1-", f"whsec_{PACKED}a"),
        *(f"{PACKED}-_12", f"whsec_{PACKED}:{PACKED}", f"YQ=={PACKED}"),
        "whsec_==",
    ],
)
def test_a_webhook_s_secret_that_cannot_sign_is_refused(token: str) -> None:
    (line,) = refused(WEBHOOK, CRM_TOKEN=token)

    assert "crm.token" in line
    assert "it must be whsec_ followed by base64 for `kind: webhook`" in line
    assert token not in line
    with pytest.raises(ValueError, match=r"base64|(?i:padding|data)"):
        signature(token, "a report")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (WEBHOOK, f"whsec_{PACKED}"),
        (WEBHOOK, PACKED),
        (WEBHOOK, f"whsec_{PACKED}YQ"),  # without what fills it up
        (OTHER, "secret-1"),
    ],
    ids=["as they are given", "bare", "not filled up", "a bearer token"],
)
def test_any_other_secret_is_accepted(text: str, token: str) -> None:
    held = read(text, CRM_TOKEN=token).settings.crm.token

    assert held is not None
    assert held.get_secret_value() == token
