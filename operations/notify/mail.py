"""Alerts by e-mail: one when it starts, rises in severity or ends, all in one thread.

Uses Python's own client in a thread: a handful of mails a day needs no library.
Source: RFC 5321 (replies), RFC 3207 (STARTTLS), RFC 5322 3.6.4 (Message-ID, References).
"""

import asyncio
import hashlib
import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from typing import Final

from bot.config.alerts import EmailSettings
from bot.config.checks import is_loopback
from fallbacks.failure import Kind
from operations.notify.alert import Alert
from operations.notify.channel import POST_S, AlertText, Channel
from operations.notify.outbox import ChannelPost
from operations.remote import RemoteError

TLS_PORT: Final = 465  # RFC 8314: TLS from the first byte
MAX_WORD: Final = 40  # a longer word is encoded and breaks the message id
DIGEST: Final = 16  # hexadecimal digits; chosen
TAKEN: Final = 250  # the answer for an accepted recipient (RFC 5321 4.2.3)
LATER: Final = 450  # stands for a missing answer, if the server disconnected first
MAX_BEGUN: Final = 100  # mails that only some recipients have got (chosen)
DOMAIN: Final = "holdline.invalid"  # RFC 2606: no host can have such a name

UNREACHED: Final[Mapping[type[Exception], tuple[Kind, str]]] = {
    smtplib.SMTPNotSupportedError: (Kind.BAD_REQUEST, "the mail server lacks what we ask for"),
    TimeoutError: (Kind.TIMEOUT, "no answer in time"),
    ssl.SSLCertVerificationError: (Kind.NETWORK, "its certificate is not trusted"),
}


def mail_channel(settings: EmailSettings, *, utc_s: Callable[[], float]) -> Channel:
    """Return a channel through one SMTP server; sender and recipient must both be set.

    Mails are never updated. No password is sent unencrypted over a network.
    """
    begun: dict[str, dict[str, int]] = {}

    async def post(post: ChannelPost, text: AlertText) -> str:
        try:
            mail = _mail(settings, post.alert, text, utc_s())
        except ValueError:  # a line break; its text is not shown, it may hold a secret
            raise RemoteError(Kind.BAD_REQUEST, "the sender or recipient is invalid") from None
        await _deliver(settings, mail, begun)
        return mail["Message-ID"]

    place = f"{settings.server}:{settings.port}"
    return Channel(name="email", edits=False, place=place, post=post)


async def _deliver(
    settings: EmailSettings, mail: EmailMessage, begun: dict[str, dict[str, int]]
) -> None:
    """Send a mail; a retry skips recipients that accepted it.

    Args:
        settings: The server and the recipients.
        mail: The mail.
        begun: For mails with a recipient to retry: the other recipients' final answers.
    """
    recipients = [address for _, address in getaddresses([settings.to or ""])]
    answers = begun.pop(mail["Message-ID"], {})
    due = [address for address in recipients if address not in answers]
    said: dict[str, int] = {}
    try:
        said = await asyncio.to_thread(_send, settings, mail, due)
    except (OSError, smtplib.SMTPException) as error:
        raise _remote_error(error) from None
    finally:
        answers |= {address: code for address, code in said.items() if not _is_for_now(code)}
        if answers and len(answers) < len(set(recipients)):
            begun[mail["Message-ID"]] = answers
        if len(begun) > MAX_BEGUN:
            del begun[next(iter(begun))]
    if refusal := _refusal(dict.fromkeys(due, LATER) | answers | said):
        raise refusal


def _mail(settings: EmailSettings, alert: Alert, text: AlertText, now: float) -> EmailMessage:
    mail = EmailMessage()
    first = f"<{_word(alert.key)}@{DOMAIN}>"
    mail["Subject"] = f"[Holdline] {text.title}"
    mail["From"] = settings.sender or ""
    mail["To"] = settings.to or ""
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    mail["Message-ID"] = f"<{_word(alert.key)}.{alert.revision}@{DOMAIN}>"
    mail["References"] = first
    mail["In-Reply-To"] = first
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content("\n".join((*text.lines, "")))
    return mail


def _send(settings: EmailSettings, mail: EmailMessage, to: Sequence[str]) -> dict[str, int]:
    """Return the answer for each address; a missing address got none."""
    context = ssl.create_default_context()
    if settings.security == "tls" or (settings.security == "auto" and settings.port == TLS_PORT):
        client = smtplib.SMTP_SSL(settings.server, settings.port, timeout=POST_S, context=context)
    else:
        client = smtplib.SMTP(settings.server, settings.port, timeout=POST_S)
    with client:
        if not isinstance(client, smtplib.SMTP_SSL):
            _secure(settings, client, context)
        _sign_in(settings, client)
        try:
            refused = client.send_message(mail, to_addrs=to)
        except smtplib.SMTPRecipientsRefused as all_refused:
            return {address: code for address, (code, _) in all_refused.recipients.items()}
        return dict.fromkeys(to, TAKEN) | {address: code for address, (code, _) in refused.items()}


def _secure(settings: EmailSettings, client: smtplib.SMTP, context: ssl.SSLContext) -> None:
    client.ehlo()
    if settings.security == "none":
        return
    if client.has_extn("starttls"):
        client.starttls(context=context)
        client.ehlo()
    elif settings.security == "starttls" or not is_loopback(settings.server):
        raise RemoteError(Kind.BAD_REQUEST, "the mail server offers no encryption")


def _sign_in(settings: EmailSettings, client: smtplib.SMTP) -> None:
    if not settings.password:
        return
    clear = not isinstance(client.sock, ssl.SSLSocket)
    if clear and not is_loopback(settings.server):
        raise RemoteError(Kind.BAD_REQUEST, "the password would be sent unencrypted")
    name = settings.username or parseaddr(settings.sender or "")[1]
    try:
        client.login(name, settings.password.get_secret_value())
    except UnicodeEncodeError:  # the library signs in with ASCII only
        why = "the user name or the password holds a character beyond ASCII; choose another"
        raise RemoteError(Kind.BAD_REQUEST, why) from None


def _word(key: str) -> str:
    """Return a key as part of a message id (RFC 5322 3.2.3, dot-atom), short enough for a line."""
    word = "".join(item if item.isascii() and item.isalnum() else "-" for item in key)
    if len(word) <= MAX_WORD:
        return word
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST]
    return f"{word[: MAX_WORD - DIGEST - 1]}-{digest}"


def _remote_error(error: Exception) -> RemoteError:
    match error:
        case smtplib.SMTPAuthenticationError():
            return RemoteError(Kind.AUTH, f"answered {error.smtp_code} to the password")
        case smtplib.SMTPResponseException():
            return _answered(error.smtp_code, "")
        case _:
            kind, reason = next(
                (said for known, said in UNREACHED.items() if isinstance(error, known)),
                (Kind.NETWORK, type(error).__name__),
            )
            return RemoteError(kind, reason)


def _refusal(answers: Mapping[str, int]) -> RemoteError | None:
    """Return the result of a mail from the last answer to each address; `None` if all accepted.

    Temporary refusals are retried before permanent ones are reported.
    """
    refused_by = [address for address, code in answers.items() if code != TAKEN]
    later = [address for address in refused_by if _is_for_now(answers[address])]
    if not refused_by:
        return None
    code = max(answers[address] for address in later or refused_by)
    many = f"to {len(later or refused_by)} of {len(answers)} recipients"
    return _answered(
        code,
        many if len(answers) > 1 else "to the recipient",
        whom=refused_by,
        reached_others=not later and len(refused_by) < len(answers),
    )


def _is_for_now(code: int) -> bool:
    """Return whether an answer is temporary (RFC 5321 4.2.1)."""
    return code < 500 and code != TAKEN


def _answered(
    code: int, what: str, *, whom: Sequence[str] = (), reached_others: bool = False
) -> RemoteError:
    """Return the error of a reply: 4yz is temporary, 5yz permanent (RFC 5321 4.2.1)."""
    kind = Kind.BAD_REQUEST if code >= 500 else Kind.OVERLOADED
    said = f"answered {code} {what}".strip()
    return RemoteError(kind, said, whom=whom, reached_others=reached_others)
