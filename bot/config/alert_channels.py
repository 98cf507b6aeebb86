"""Alert channels that are off because their configuration is incomplete."""

from collections.abc import Iterator

from bot.config.settings import AlertsSettings


def missing_of(settings: AlertsSettings) -> Iterator[str]:
    """Yield a line for each incompletely configured channel."""
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
