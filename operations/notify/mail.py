"""Alerts by e-mail: one mail when an alert starts, rises in severity or ends, in one thread.

One deadline applies to the whole mail, so a server that answers byte by byte delays nothing else.
Source: RFC 5321 (replies), RFC 3207 (STARTTLS), RFC 5322 3.6.4 (Message-ID, References).
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from typing import Final

import aiosmtplib

from configuration.alerts import EmailSettings
from fallbacks.failure import Kind
from operations.notify.alert import Alert
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import AlertText, Channel
from operations.remote import RemoteError
from runtime.hosts import is_loopback

MAIL_S: Final = 20.0  # from connecting to the last answer, about six exchanges (chosen)
QUIT_S: Final = 1.0
TLS_PORT: Final = 465  # RFC 8314: TLS from the first byte
MAX_WORD_CHARACTERS: Final = 40  # a longer word is encoded and breaks the message id
DIGEST_CHARACTERS: Final = 16  # hexadecimal; chosen
ACCEPTED: Final = 250  # the answer for an accepted recipient (RFC 5321 4.2.3)
NO_ANSWER: Final = 450  # a temporary refusal, for an address that the server did not answer
MAX_UNFINISHED: Final = 100  # mails that only some recipients got, to be retried (chosen)
INVALID: Final = "the sender or recipient is invalid"
DOMAIN: Final = "holdline.invalid"  # RFC 2606: no host can have such a name

UNREACHED: Final[Mapping[type[Exception], tuple[Kind, str]]] = {
    aiosmtplib.SMTPNotSupported: (Kind.BAD_REQUEST, "the mail server lacks a feature that we need"),
    TimeoutError: (Kind.TIMEOUT, "no answer in time"),
    ssl.SSLCertVerificationError: (Kind.NETWORK, "its certificate is not trusted"),
}


def mail_channel(settings: EmailSettings, *, utc_s: Callable[[], float]) -> Channel:
    """Return a channel through one SMTP server; sender and recipient must both be set.

    Mails are never updated. No password is sent unencrypted over a network.
    """
    unfinished: dict[str, dict[str, int]] = {}

    async def post_alert(post: ChannelPost, text: AlertText) -> str:
        """Mail an alert to those who lack it; return its Message-ID. Raises `RemoteError`."""
        try:
            mail = _compose_mail(settings, post.alert, text, utc_s())
        except ValueError:  # a line break; the error's text may contain a secret
            raise RemoteError(Kind.BAD_REQUEST, INVALID) from None
        await _deliver_to_pending(settings, mail, unfinished)
        return mail["Message-ID"]

    place = f"{settings.server}:{settings.port}"
    return Channel(name="email", edits=False, place=place, post=post_alert)


async def _deliver_to_pending(
    settings: EmailSettings, mail: EmailMessage, unfinished: dict[str, dict[str, int]]
) -> None:
    """Send a mail; a retry skips recipients that have accepted or permanently refused it.

    Args:
        settings: The server and the recipients.
        mail: The mail.
        unfinished: For each mail with recipients to retry, by message id: the final answers of
            the other recipients. Updated.

    Raises:
        RemoteError: Not every recipient has accepted the mail.
    """
    recipients = [address for _, address in getaddresses([settings.to or ""])]
    answers = unfinished.pop(mail["Message-ID"], {})
    due = [address for address in recipients if address not in answers]
    answered_now: dict[str, int] = {}
    try:
        answered_now = await _send_over_smtp(settings, mail, due)
    except ValueError:  # an address that no mail can have
        raise RemoteError(Kind.BAD_REQUEST, INVALID) from None
    except (OSError, aiosmtplib.SMTPException) as error:
        raise _remote_error(error) from None
    finally:
        answers |= {
            address: code for address, code in answered_now.items() if not _is_temporary(code)
        }
        if answers and len(answers) < len(set(recipients)):
            unfinished[mail["Message-ID"]] = answers
        if len(unfinished) > MAX_UNFINISHED:
            del unfinished[next(iter(unfinished))]
    if refusal := _refusal_from_answers(dict.fromkeys(due, NO_ANSWER) | answers | answered_now):
        raise refusal


def _compose_mail(
    settings: EmailSettings, alert: Alert, text: AlertText, now: float
) -> EmailMessage:
    """Return the mail of an alert; all mails of one alert form a thread."""
    mail = EmailMessage()
    # No mail has this id: mail programs show mails that refer to the same one as one thread.
    thread_id = f"<{_id_word(alert.key)}@{DOMAIN}>"
    mail["Subject"] = f"[Holdline] {text.title}"
    mail["From"] = settings.sender or ""
    mail["To"] = settings.to or ""
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    mail["Message-ID"] = f"<{_id_word(alert.key)}.{alert.revision}@{DOMAIN}>"
    mail["References"] = thread_id
    mail["In-Reply-To"] = thread_id
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content("\n".join((*text.lines, "")))
    return mail


async def _send_over_smtp(
    settings: EmailSettings, mail: EmailMessage, to: Sequence[str]
) -> dict[str, int]:
    """Send a mail; return the server's answer for each address.

    Raises:
        RemoteError: The connection would not be safe.
        OSError: No answer, or none within `MAIL_S`; an `SMTPException` is any other failure.
    """
    context = ssl.create_default_context()
    tls = settings.security == "tls" or (settings.security == "auto" and settings.port == TLS_PORT)
    client = aiosmtplib.SMTP(
        hostname=settings.server,
        port=settings.port,
        local_hostname=socket.gethostname(),  # the library would ask DNS, in a thread
        timeout=MAIL_S,
        use_tls=tls,
        start_tls=False,
        tls_context=context,
    )
    try:
        async with asyncio.timeout(MAIL_S):
            await client.connect()
            if not tls:
                await _start_tls(settings, client, context)
            await _sign_in(settings, client)
            answers = await _send_message(client, mail, to)
        # A failure no longer matters: every recipient's answer is known.
        with suppress(OSError, aiosmtplib.SMTPException):
            async with asyncio.timeout(QUIT_S):
                await client.quit()
    finally:
        client.close()
    return answers


async def _send_message(
    client: aiosmtplib.SMTP, mail: EmailMessage, to: Sequence[str]
) -> dict[str, int]:
    """Send a mail over an open connection; return the server's answer for each address."""
    try:
        refused, _ = await client.send_message(mail, recipients=list(to))
    except aiosmtplib.SMTPRecipientsRefused as all_refused:
        return {error.recipient: error.code for error in all_refused.recipients}
    return dict.fromkeys(to, ACCEPTED) | {
        address: answer.code for address, answer in refused.items()
    }


async def _start_tls(
    settings: EmailSettings, client: aiosmtplib.SMTP, context: ssl.SSLContext
) -> None:
    """Encrypt the connection if the server can, unless security is `none`.

    Raises:
        RemoteError: It cannot, and security is `starttls`, or the server is on another machine.
    """
    await client.ehlo()
    if settings.security == "none":
        return
    if client.supports_extension("starttls"):
        await client.starttls(tls_context=context)
        await client.ehlo()
    elif settings.security == "starttls" or not is_loopback(settings.server):
        raise RemoteError(Kind.BAD_REQUEST, "the mail server offers no encryption")


async def _sign_in(settings: EmailSettings, client: aiosmtplib.SMTP) -> None:
    """Sign in, if there is a password.

    Raises:
        RemoteError: The password would leave this machine unencrypted.
    """
    if not settings.password:
        return
    is_unencrypted = client.get_transport_info("sslcontext") is None
    if is_unencrypted and not is_loopback(settings.server):
        raise RemoteError(Kind.BAD_REQUEST, "the password would be sent unencrypted")
    name = settings.username or parseaddr(settings.sender or "")[1]
    await client.login(name, settings.password.get_secret_value())


def _id_word(key: str) -> str:
    """Return a key as part of a message id (RFC 5322 3.2.3, dot-atom), short enough for a line."""
    word = "".join(item if item.isascii() and item.isalnum() else "-" for item in key)
    if len(word) <= MAX_WORD_CHARACTERS:
        return word
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{word[: MAX_WORD_CHARACTERS - DIGEST_CHARACTERS - 1]}-{digest}"


def _remote_error(error: Exception) -> RemoteError:
    """Return our error for one of the library's, which may only wrap the real cause."""
    match error:
        case aiosmtplib.SMTPAuthenticationError(code=code):
            kind = Kind.OVERLOADED if _is_temporary(code) else Kind.AUTH
            return RemoteError(kind, f"answered {code} to the password")
        case aiosmtplib.SMTPResponseException(code=code):
            return _reply_error(code, "")
        case _:
            kind, reason = next(
                (
                    meaning
                    for known, meaning in UNREACHED.items()
                    if isinstance(error, known) or isinstance(error.__cause__, known)
                ),
                (Kind.NETWORK, type(error).__name__),
            )
            return RemoteError(kind, reason)


def _refusal_from_answers(answers: Mapping[str, int]) -> RemoteError | None:
    """Return a mail's error from the last answer for each address; `None` if all accepted.

    While there are temporary refusals, the error is temporary, so that the mail is retried;
    permanent ones are reported after that.
    """
    refused_by = [address for address, code in answers.items() if code != ACCEPTED]
    to_retry = [address for address in refused_by if _is_temporary(answers[address])]
    if not refused_by:
        return None
    code = max(answers[address] for address in to_retry or refused_by)
    share = f"to {len(to_retry or refused_by)} of {len(answers)} recipients"
    return _reply_error(
        code,
        share if len(answers) > 1 else "to the recipient",
        whom=refused_by,
        reached_others=not to_retry and len(refused_by) < len(answers),
    )


def _is_temporary(code: int) -> bool:
    """Return whether an answer is temporary (RFC 5321 4.2.1)."""
    return code < 500 and code != ACCEPTED


def _reply_error(
    code: int, what: str, *, whom: Sequence[str] = (), reached_others: bool = False
) -> RemoteError:
    """Return the error for a reply: 4yz is temporary, 5yz permanent (RFC 5321 4.2.1)."""
    kind = Kind.BAD_REQUEST if code >= 500 else Kind.OVERLOADED
    reason = f"answered {code} {what}".strip()
    return RemoteError(kind, reason, whom=whom, reached_others=reached_others)
