"""The settings of alerts, and which channels are off because their settings are incomplete."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from configuration.values import (
    Count,
    DayTime,
    HttpUrl,
    Port,
    Seconds,
    SecondsOrZero,
    Section,
    SigningSecret,
    Text,
    Zone,
)
from fallbacks.failure import Severity


class EmailSettings(Section):
    """Alerts by e-mail."""

    sender: Text | None = None
    """The sender's address."""
    to: Text | None = None
    """The recipients, separated by commas."""
    password: SecretStr | None = None
    username: Text | None = None
    """The login at the mail server. By default the sender."""
    host: Text | None = None
    """The mail server. By default `smtp.` and the sender's domain."""
    port: Port = 587
    """The mail server's port."""
    security: Literal["auto", "starttls", "tls", "none"] = "auto"
    """`auto`: TLS on port 465, STARTTLS on any other. Only a server on loopback may lack STARTTLS
    then.
    """

    @property
    def server(self) -> str:
        """The host name of the mail server: `host`, or else `smtp.` and the domain of `sender`."""
        return self.host or f"smtp.{(self.sender or '').rpartition('@')[2].strip('<> ')}"


class TelegramSettings(Section):
    """Alerts by Telegram."""

    bot_token: SecretStr | None = None
    chat_id: Text | None = None
    """The chat, by its number or name."""
    api_url: HttpUrl = "https://api.telegram.org"
    """The Bot API server."""

    @field_validator("chat_id", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        """Accept a chat's number as well as its name: YAML reads `-100123` as a number."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class WebhookSettings(Section):
    """Alerts by an HTTP request."""

    url: HttpUrl | None = None
    """The address that each change of an alert is posted to."""
    secret: SigningSecret = None  # signs what is sent; WEBHOOK_SECRET


class QuietSettings(Section):
    """Hours in which only urgent alerts are sent."""

    begin: DayTime | None = None
    """When the quiet hours begin. By default there are none."""
    end: DayTime = "07:00"
    """When the quiet hours end."""
    zone: Zone = "UTC"
    """The time zone of the quiet hours."""
    wakes: Severity = Severity.HIGH
    """Alerts of this severity and above are sent in quiet hours, too."""


class AlertsSettings(Section):
    """Alerts: channels and timing."""

    hold_s: SecondsOrZero = 5.0
    """An incident that ends within this time is not sent. Critical incidents do not wait."""
    update_s: Seconds = 60.0
    """Time between two updates of a message in which only a count has changed."""
    again_s: Annotated[Seconds, Field(le=3600)] = 600.0  # the outbox remembers an hour
    """A repeated failure of the same provider within this time updates the same message."""
    escalate_s: Seconds = 600.0
    """An alert that is not acknowledged for this long is raised by one severity."""
    per_hour: Count = 20
    """The most messages that may ring within an hour. Further ones wait, except critical ones."""
    hurt_share: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Send an alert if at least this share of the calls within five minutes gave their callers no
    answer: they heard a clip or the outage menu instead, or were cut off.
    """
    hurt_callers: Count = 2
    """The fewest such callers that cause this alert."""
    quiet: QuietSettings = QuietSettings()
    inbox: bool = False
    """Send a notice of each callback or message that a caller was promised, not in quiet hours."""

    email: EmailSettings = EmailSettings()
    telegram: TelegramSettings = TelegramSettings()
    webhook: WebhookSettings = WebhookSettings()


def missing_of(settings: AlertsSettings) -> Iterator[str]:
    """Yield a line for each channel that is off because its settings are incomplete."""
    email, telegram = settings.email, settings.telegram
    if email.password and not (email.sender or email.to):
        yield "email is off: EMAIL_FROM and EMAIL_TO are not set"
    elif bool(email.sender) is not bool(email.to):
        yield f"email is off: {'EMAIL_TO' if email.sender else 'EMAIL_FROM'} is not set"
    if bool(telegram.bot_token) is not bool(telegram.chat_id):
        absent = "TELEGRAM_CHAT_ID" if telegram.bot_token else "TELEGRAM_BOT_TOKEN"
        yield f"telegram is off: {absent} is not set"
    if settings.webhook.secret and not settings.webhook.url:
        yield "webhook is off: WEBHOOK_URL is not set"
