"""The supervisor's answers to carriers while no worker is ready.

A worker has died, and the carrier asks what follows its stream. It is told to say a sentence, to
wait, and to ask again; the address counts how often it has asked. Telnyx cannot be told anything in
an answer, so its request waits. The answers hold only our public address, which is no secret, so
signatures are not checked.
"""

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

TOLD_S: Final = 20.0  # a call is kept as long as this
PAUSE_S: Final = 2  # whole seconds
SAID: Final = (
    ("en-US", "One moment, please."),
    ("es-ES", "Un momento, por favor."),
    ("ru-RU", "Одну минуту, пожалуйста."),
)
"""By the language of the carrier's own voice; the first one for all others."""
MOST: Final = round(TOLD_S / PAUSE_S)
AFTER: Final = re.compile(rb"POST (/(?:twilio|plivo)/after)(?:\?meanwhile=(\d{1,2}))? HTTP/")
WAITS: Final = re.compile(rb"POST /telnyx/voice HTTP/")  # we answer its news by requests of our own


def meanwhile(request: bytes, *, public_url: str, language: str) -> bytes | None:
    """Return the whole answer to a request that no worker can take, or `None` if it is no call's.

    An empty answer means that the request may wait for a worker, for `TOLD_S`.

    Args:
        request: What has come of it.
        public_url: Ours, as the carrier knows it.
        language: Of the agent.
    """
    if WAITS.match(request):
        return b""
    asked = AFTER.match(request)
    times = int(asked[2] or 0) if asked else MOST
    if asked is None or times >= MOST:
        return None
    path = asked[1].decode()
    url = f"{public_url.rstrip('/')}{path}?meanwhile={times + 1}"
    say, pause = ("Speak", "Wait") if path.startswith("/plivo") else ("Say", "Pause")
    tag, words = next((said for said in SAID if language[:2] == said[0][:2]), SAID[0])
    verbs = (
        "" if times else f'<{say} language="{tag}">{words}</{say}>',
        f"<{pause} length={quoteattr(str(PAUSE_S))}/>",
        f'<Redirect method="POST">{escape(url)}</Redirect>',
    )
    body = f'<?xml version="1.0" encoding="UTF-8"?><Response>{"".join(verbs)}</Response>'.encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
