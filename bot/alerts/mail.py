"""Alerts by e-mail: a mail when it begins, is worse or is over, all of them one conversation.

Python's own client in a thread: an alert is a handful of mails a day, and needs no library.
Source: RFC 5321 (replies), RFC 3207 (STARTTLS), RFC 5322 3.6.4 (Message-ID, References).
"""

import asyncio
import hashlib
import smtplib
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from typing import Final

from bot.alerts.channel import POST_S, ChannelError
from bot.alerts.message import AlertText
from bot.config.checks import is_loopback
from bot.config.settings import EmailSettings
from fallbacks.failure import Kind
from storage.alert_outbox import ChannelPost

TLS_PORT: Final = 465  # RFC 8314: TLS from the first byte
LONGEST_WORD: Final = 40  # a line with more in one piece is encoded, and is no identity any more
DIGEST: Final = 16  # hexadecimal digits; chosen
DOMAIN: Final = "holdline.invalid"  # RFC 2606: no host of that name can ever be

UNREACHED: Final[Mapping[type[Exception], tuple[Kind, str]]] = {
    smtplib.SMTPNotSupportedError: (Kind.BAD_REQUEST, "the mail server lacks what we ask for"),
    TimeoutError: (Kind.TIMEOUT, "no answer in time"),
    ssl.SSLCertVerificationError: (Kind.NETWORK, "its certificate is not trusted"),
}


class MailChannel:
    """Sends over one SMTP server; never a password in the clear over a network."""

    name = "email"
    edits = False

    def __init__(self, settings: EmailSettings, *, utc_s: Callable[[], float]) -> None:
        """Send as `settings` say, where sender and recipient must both be set."""
        self._settings = settings
        self._utc_s = utc_s

    @property
    def place(self) -> str:
        """Return the mail server."""
        return f"{self._settings.server}:{self._settings.port}"

    async def post(self, post: ChannelPost, text: AlertText) -> str:
        """Send a mail; it is never changed."""
        try:
            mail = self._mail(post, text)
        except ValueError:  # a line break; its text is not shown, it may hold anything
            raise ChannelError(Kind.BAD_REQUEST, "no mail has such a sender or recipient") from None
        try:
            await asyncio.to_thread(self._send, mail)
        except (OSError, smtplib.SMTPException) as error:
            raise _channel_error(error) from None
        return mail["Message-ID"]

    def _mail(self, post: ChannelPost, text: AlertText) -> EmailMessage:
        alert, mail = post.alert, EmailMessage()
        first = f"<{_word(alert.key)}@{DOMAIN}>"
        mail["Subject"] = f"[Holdline] {text.title}"
        mail["From"] = self._settings.sender or ""
        mail["To"] = self._settings.to or ""
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._utc_s(), UTC))
        mail["Message-ID"] = f"<{_word(alert.key)}.{alert.revision}@{DOMAIN}>"
        mail["References"] = first
        mail["In-Reply-To"] = first
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        mail.set_content("\n".join((*text.lines, "")))
        return mail

    def _send(self, mail: EmailMessage) -> None:
        settings = self._settings
        context = ssl.create_default_context()
        if settings.security == "tls" or (
            settings.security == "auto" and settings.port == TLS_PORT
        ):
            client = smtplib.SMTP_SSL(
                settings.server, settings.port, timeout=POST_S, context=context
            )
        else:
            client = smtplib.SMTP(settings.server, settings.port, timeout=POST_S)
        with client:
            if not isinstance(client, smtplib.SMTP_SSL):
                self._secure(client, context)
            self._sign_in(client)
            to = [address for _, address in getaddresses([settings.to or ""])]
            client.send_message(mail, to_addrs=to)

    def _secure(self, client: smtplib.SMTP, context: ssl.SSLContext) -> None:
        client.ehlo()
        settings = self._settings
        if settings.security == "none":
            return
        if client.has_extn("starttls"):
            client.starttls(context=context)
            client.ehlo()
        elif settings.security == "starttls" or not is_loopback(settings.server):
            raise ChannelError(Kind.BAD_REQUEST, "the mail server offers no encryption")

    def _sign_in(self, client: smtplib.SMTP) -> None:
        settings = self._settings
        if not settings.password:
            return
        clear = not isinstance(client.sock, ssl.SSLSocket)
        if clear and not is_loopback(settings.server):
            raise ChannelError(Kind.BAD_REQUEST, "the password would go in the clear")
        name = settings.username or parseaddr(settings.sender or "")[1]
        try:
            client.login(name, settings.password.get_secret_value())
        except UnicodeEncodeError:  # the library signs in with ASCII alone
            why = "the user's name or the password holds a character beyond ASCII; choose another"
            raise ChannelError(Kind.BAD_REQUEST, why) from None


def _word(key: str) -> str:
    """Return a key as an identity may have it (RFC 5322 3.2.3, dot-atom), and fits a line."""
    word = "".join(each if each.isascii() and each.isalnum() else "-" for each in key)
    if len(word) <= LONGEST_WORD:
        return word
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST]
    return f"{word[: LONGEST_WORD - DIGEST - 1]}-{digest}"


def _channel_error(error: Exception) -> ChannelError:
    match error:
        case smtplib.SMTPAuthenticationError():
            return ChannelError(Kind.AUTH, f"answered {error.smtp_code} to the password")
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            code = max((each for each, _ in recipients.values()), default=550)
            return _answered(code, "to the recipient")
        case smtplib.SMTPResponseException():
            return _answered(error.smtp_code, "")
        case _:
            kind, reason = next(
                (said for known, said in UNREACHED.items() if isinstance(error, known)),
                (Kind.NETWORK, type(error).__name__),
            )
            return ChannelError(kind, reason)


def _answered(code: int, what: str) -> ChannelError:
    """Return what a reply means: 4yz is for now, 5yz for good (RFC 5321 4.2.1)."""
    kind = Kind.BAD_REQUEST if code >= 500 else Kind.OVERLOADED
    return ChannelError(kind, f"answered {code} {what}".strip())
