"""Verifies Plivo's webhook signatures.

Source: plivo.com/docs/voice/concepts/signature-validation and the package `plivo`, signature_v3.py:
HMAC-SHA256 by the account's auth token over the address, the sorted form and a nonce.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

MAX_NONCE_CHARS: Final = 128
MAX_PROOF_CHARS: Final = 1024


def signed_text(url: str, query: str, form: Mapping[str, str], nonce: str) -> str:
    """Return the text that Plivo signs for a POST.

    Args:
        url: Scheme, host and path.
        query: As it was sent; its fields are sorted, and a dot separates them from the form.
        form: The body's fields.
        nonce: From the header.
    """
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    asked = "&".join(f"{name}={value}" for name, value in pairs)
    if asked or form:
        url += f"?{asked}"
    if asked and form:
        url += "."
    return url + "".join(f"{name}{form[name]}" for name in sorted(form)) + f".{nonce}"


def is_signed(token: str, text: str, proofs: str) -> bool:
    """Return whether one of the comma-separated proofs is the text's signature with this token."""
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha256).digest()
    right = base64.b64encode(digest).decode()
    if len(proofs) > MAX_PROOF_CHARS or not proofs.isascii():
        return False
    return any(hmac.compare_digest(right, word.strip()) for word in proofs.split(","))
