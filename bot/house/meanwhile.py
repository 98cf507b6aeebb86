"""What a call is told whose worker has died while no other one is ready.

Its carrier asks what follows the stream that is over. It is told to say a sentence, to wait, and to
ask again; how often it has asked stands in the address. A carrier that can be told nothing waits
for its answer. All that a stranger could learn here is our public address, so that nobody has to
prove who asks.
"""

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

TOLD_S: Final = 20.0  # that a call is kept for so long
PAUSE_S: Final = 2  # whole seconds
SAID: Final = (
    ("en-US", "One moment, please."),
    ("es-ES", "Un momento, por favor."),
    ("ru-RU", "Одну минуту, пожалуйста."),
)
"""By the language of the carrier's own voice; the first one for all others."""
MOST: Final = round(TOLD_S / PAUSE_S)
AFTER: Final = re.compile(rb"POST (/(?:twilio|plivo)/after)(?:\?meanwhile=(\d{1,2}))? HTTP/")
WAITS: Final = re.compile(rb"POST /telnyx/voice HTTP/")  # its news are answered by our requests


def meanwhile(request: bytes, *, public_url: str, language: str) -> bytes | None:
    """Return the whole answer to a request that no worker can take; None: there is none.

    Empty: the request may wait for a worker, for `TOLD_S`.

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
    tag, words = next((each for each in SAID if language[:2] == each[0][:2]), SAID[0])
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
