"""Verifies Telnyx's webhook signatures and their age.

A signature is made with Ed25519 over `timestamp|body`. Telnyx's portal shows the public key.

Source: developers.telnyx.com/development/api-fundamentals/webhooks/receiving-webhooks.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_S: Final = 300.0  # as in Telnyx's own package
MAX_DIGITS: Final = 12
KEY_BYTES: Final = 32


def public_key(text: str) -> Ed25519PublicKey | None:
    """Return the account's key from base64; `None` if it is invalid."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Ed25519PublicKey.from_public_bytes(raw) if len(raw) == KEY_BYTES else None


def signature_trouble(
    key: Ed25519PublicKey, headers: Mapping[str, str], body: bytes, *, now: float
) -> str | None:
    """Return why a webhook is refused; `None` if it is authentic and recent.

    Args:
        key: The account's public key.
        headers: The request's headers, with lower-case names.
        body: The request's body, unchanged.
        now: The time, in seconds since 1970.
    """
    stamp = headers.get("telnyx-timestamp", "")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= MAX_DIGITS):
        return "wrong_signature"
    try:
        signature = base64.b64decode(headers.get("telnyx-signature-ed25519", ""), validate=True)
        key.verify(signature, stamp.encode() + b"|" + body)
    except (InvalidSignature, binascii.Error, ValueError):
        return "wrong_signature"
    return "webhook_too_old" if abs(now - int(stamp)) > TOLERANCE_S else None
