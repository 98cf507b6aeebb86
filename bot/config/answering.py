"""How it is found out who picked up a call of a campaign, and what a machine is told."""

from bot.config.values import Section


class AmdSettings(Section):
    """Listening for mailboxes, menus and telephones' assistants."""

    listen: bool = True  # before anything is said; off: whoever picks up is greeted at once
    screening: str = ""  # to an assistant that asks who calls and why; empty: the greeting
