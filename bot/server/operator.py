"""Who an operator is and why something was done: what every action of the console is told with."""

from typing import Annotated

from fastapi import Body, Request
from pydantic import BaseModel, Field

from bot.server.access import COOKIE
from bot.server.cookie import given_cookie
from calls.entry import Tell
from calls.events import OperatorActed, OperatorAction
from operations.notify.message import masked

NAME_CHARACTERS = 80
REASON_CHARACTERS = 200
UNNAMED = "an operator"


class OperatorWord(BaseModel):
    """What may come with an action; nothing of it must."""

    by: str = Field(default="", max_length=NAME_CHARACTERS)
    why: str = Field(default="", max_length=REASON_CHARACTERS)
    force: bool = False  # also where nobody else would be left

    @property
    def name(self) -> str:
        """Return who acts, as is fit to be shown."""
        return masked(self.by) or UNNAMED


Word = Annotated[OperatorWord | None, Body()]


def tell_action(
    tell: Tell, request: Request, action: OperatorAction, *, target: str, word: OperatorWord
) -> None:
    """Tell once what an operator did, and by which credential from where."""
    tell(
        OperatorActed(
            action=action,
            target=target,
            by=f"{word.name} ({_credential(request)} from {_address(request)})",
            why=masked(word.why),
        )
    )


def _credential(request: Request) -> str:
    if request.headers.get("authorization"):
        return "bearer token"
    return "sign-in" if given_cookie(request, COOKIE) else "no token"


def _address(request: Request) -> str:
    return request.client.host if request.client else "nowhere"
