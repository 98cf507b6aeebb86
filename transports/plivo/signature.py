"""Verifies Plivo's webhook signatures.

A signature is the HMAC-SHA256 of the URL, the sorted form and a nonce, with the account's token.

Source: plivo.com/docs/voice/concepts/signature-validation and the package `plivo`, signature_v3.py.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

MAX_NONCE_CHARS: Final = 128
MAX_SIGNATURES_CHARS: Final = 1024  # of the header


def signed_text(url: str, query: str, form: Mapping[str, str], nonce: str) -> str:
    """Return the text that Plivo signs for a POST.

    Args:
        url: Scheme, host and path.
        query: The query as it was sent. In the text, its fields are sorted, and a dot separates
            them from the form.
        form: The body's fields.
        nonce: From the header.
    """
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    sorted_query = "&".join(f"{name}={value}" for name, value in pairs)
    if sorted_query or form:
        url += f"?{sorted_query}"
    if sorted_query and form:
        url += "."
    return url + "".join(f"{name}{form[name]}" for name in sorted(form)) + f".{nonce}"


def is_signed(token: str, text: str, signatures: str) -> bool:
    """Return whether one of the comma-separated signatures is the text's, with this token."""
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha256).digest()
    expected = base64.b64encode(digest).decode()
    if len(signatures) > MAX_SIGNATURES_CHARS or not signatures.isascii():
        return False
    return any(hmac.compare_digest(expected, item.strip()) for item in signatures.split(","))
