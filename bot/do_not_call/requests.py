"""Puts a person's number on the do-not-call list: by a tool of the model, or by the person's words.

Rules: the model decides first, with its tool. If it has answered a turn that names calls without
using the tool, it is asked about that turn, yes or no. Words decide only if no model answers, and
only if they are unmistakable. A request is confirmed only once the number is listed.

A number that was listed in this call is taken off again after an explicit wish, a question to the
person, and a clear yes in their next turn; in doubt it stays. A number that was listed before the
call stays listed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from bot.do_not_call.opt_out_rules import is_clear_yes
from bot.do_not_call.opt_outs import OptOuts
from bot.do_not_call.owed_numbers import OwedNumber
from bot.do_not_call.question import NotedTurn, SentenceJudge, Wish
from bot.tools.tool_words import ANSWERS, described
from bot.tools.toolbox import Tool, ToolFailed
from calls.caller import is_dialable
from calls.entry import Emit
from calls.events import AgentSaid, Event, TranscriptFinal, TurnDecided, TurnEnded
from calls.operations_events import (
    DoNotCallOwed,
    DoNotCallTakenBack,
    DoNotCallWanted,
)
from calls.plain_values import from_plain
from fallbacks.events import StageExhausted
from operations.database.tables import CONTACT_NUMBER_LENGTH
from processors.holding.utterance_rules import Situation

# How long the person waits for the confirmation, and the call at its end.
CONFIRMATION_S: Final = 3.0
MAX_FINALS: Final = 50  # transcripts of a turn; a longer turn is not a plain request (chosen)
MAX_WORDS: Final = 300  # characters of an entry's words (chosen)
QUESTION_MARKS: Final = frozenset("?？؟;՞")  # noqa: RUF001 - as other scripts write them
SOURCE: Final = "voice: "  # of an entry; followed by how the request was recognised
LISTED: Final = ANSWERS["listed"]
ASK_FIRST: Final = ANSWERS["ask_first"]
NOT_CONFIRMED: Final = ANSWERS["not_confirmed"]
TAKEN_BACK: Final = ANSWERS["taken_back"]
NOT_LISTED_HERE: Final = ANSWERS["not_listed_here"]
NOT_TAKEN_BACK: Final = ANSWERS["not_taken_back"]
NOT_LISTED: Final = ANSWERS["not_listed"]
NO_NUMBER: Final = ANSWERS["no_number"]


@dataclass(slots=True)
class _Confirmation:
    """The question whether the number shall come off the list, and who wanted it asked."""

    by: str  # model, words
    is_asked: bool = False  # the person has heard it


class DoNotCallRequests:
    """The opt-out of one call. `close` it with the call; `OptOuts` continues what is pending."""

    def __init__(
        self,
        opt_outs: OptOuts,
        number: str,
        *,
        call_id: str,
        turn: Callable[[], int],
        emit: Emit,
        utc_s: Callable[[], float],
        say: Callable[[Situation], Awaitable[None]],
        language: Callable[[], str],
        dial_id: str = "",
        also: str = "",
        stored: Callable[[str], str] = str,
    ) -> None:
        """Create the opt-out, which lists `number`, `also` and the dial's number on request.

        `say` speaks a prepared sentence, for requests that no model has confirmed. `language`
        returns the tag of the language that is spoken. `stored` returns words of the call as they
        may be stored.
        """
        self.opt_outs = opt_outs
        self._call_id = call_id
        listable = is_dialable(number) and len(number) <= CONTACT_NUMBER_LENGTH
        self._number = number if listable else ""
        self._turn, self._utc_s = turn, utc_s
        self._emit, self._say, self._stored, self._language = emit, say, stored, language
        self._dial_id, self._also = dial_id, also
        self.owed: OwedNumber | None = None  # what `_listing` lists
        self.listing: asyncio.Task[None] | None = None  # owned by `OptOuts`, which continues it
        self._request = (0, "")  # its turn, and how it was recognised: by `words` or by the `model`
        self._judge = SentenceJudge(opt_outs.question, self._act_on_wish, turn=turn, emit=emit)
        # Owned by this object, which cancels them: see `close`.
        self._saying: asyncio.Task[None] | None = None
        self._taking_back: asyncio.Task[str] | None = None
        self._confirmation: _Confirmation | None = None
        self._unconfirmed = False  # the person's answer was not a clear yes
        self._finals: list[str] = []  # of the turn in progress
        self._words = ""  # of the latest decided turn, as they may be stored
        self._over = False

    def notice(self, event: Event) -> None:
        """Follow what is said, and judge each turn that names calls.

        A turn is judged after the model could use its tools: when the turn has ended, when the next
        one has been decided, or when no model can answer.
        """
        match event:
            case TranscriptFinal():
                self._finals = [*self._finals, event.text][-MAX_FINALS:]
            case AgentSaid() if self._confirmation and QUESTION_MARKS & set(event.text):
                self._confirmation.is_asked = True
            case TurnDecided():
                self._judge.decide()  # the previous turn, if that got no answer
                words, self._finals = " ".join(self._finals), []
                self._words = self._stored(words)
                if not self._hear_confirmation(words):
                    self._note_turn(words, event.turn)
            case StageExhausted(stage="llm"):
                self._judge.decide(by_words=True)
            case TurnEnded():
                self._judge.decide(until=event.turn)
            case _:
                pass

    def tool(self) -> Tool:
        """Return the model's tool to put the number on the list; waits up to `CONFIRMATION_S`."""

        async def run(arguments: Mapping[str, Any]) -> str:
            """List the caller's number; raise `ToolFailed` if that is not confirmed in time."""
            del arguments
            if not self._number:
                raise ToolFailed(NO_NUMBER)
            self._judge.forget()
            listing = self.begin("model")
            await asyncio.wait({listing}, timeout=CONFIRMATION_S)
            if not _is_listed(listing):
                raise ToolFailed(NOT_LISTED)
            return LISTED

        return Tool(**described("never_call_again"), run=run)

    def undo_tool(self) -> Tool:
        """Return the model's tool to take the number off the list again.

        It is a separate tool: an argument of the other one might be set by mistake. It takes the
        number off only after the person has said yes to the question, whatever the model says.
        """

        async def run(arguments: Mapping[str, Any]) -> str:
            """Ask the caller to confirm first, or return how it went once that has been done."""
            del arguments
            self._judge.forget()
            if self._taking_back is not None:
                result = await asyncio.shield(self._taking_back)
                if result != TAKEN_BACK:
                    raise ToolFailed(result)
                return result
            if self.listing is None:
                raise ToolFailed(NOT_LISTED_HERE)
            if self._unconfirmed:
                self._unconfirmed = False
                raise ToolFailed(NOT_CONFIRMED)
            self._confirmation = _Confirmation("model")
            return ASK_FIRST

        return Tool(**described("allow_calls"), run=run)

    async def close(self) -> None:
        """Wait briefly for pending numbers; emit an event if one is not listed by then.

        Words that no turn contains count as well: the person may have hung up after them.
        """
        words, self._finals = " ".join(self._finals), []
        if words and self.listing is None:
            self._judge.decide()
            self._words = self._stored(words)
            self._note_turn(words, self._turn())
        self._judge.decide()
        try:
            await self._judge.wait()
            pending = {task for task in (self.listing, self._saying, self._taking_back) if task}
            if pending:
                await asyncio.wait(pending, timeout=CONFIRMATION_S)
        finally:
            self._judge.close()
            self._over = True
            for task in filter(None, (self._saying, self._taking_back)):
                task.cancel()
            if self.listing and not _is_listed(self.listing):
                turn, by = self._request
                self._emit(DoNotCallOwed(turn=turn, by=by))

    def _note_turn(self, words: str, turn: int) -> None:
        """Give the judge a turn, as a wish for no calls or, after such a request, for calls again.

        Ignored if there is no number that can be listed.
        """
        if self._number:
            wish = Wish.CALLS_AGAIN if self.listing else Wish.NO_CALLS
            noted = NotedTurn(
                number=turn, said=words, stored=self._words, language=self._language(), wish=wish
            )
            self._judge.note(noted)

    def _act_on_wish(self, turn: NotedTurn, by: str) -> None:
        """List the number, or ask whether to take it off, unless the model has done so."""
        if (turn.wish is Wish.NO_CALLS) != (self.listing is None):
            return
        if turn.wish is Wish.NO_CALLS:
            self._speak_after(Situation.NOT_CALLED, after=self.begin(by, turn.stored))
        elif self._confirmation is None and self._taking_back is None:
            self._confirmation = _Confirmation("words")
            self._speak_after(Situation.CONFIRM_CALLS)

    def _hear_confirmation(self, words: str) -> bool:
        """Read a turn as the answer to the question; return whether it was a clear yes.

        That begins to take the number off the list. Any other answer ends the question.
        """
        asked, self._confirmation = self._confirmation, None
        if asked is None or self.listing is None or self.owed is None:
            return False
        if not (asked.is_asked and is_clear_yes(words)):
            self._unconfirmed = asked.by == "model"
            return False
        self._taking_back = asyncio.get_running_loop().create_task(
            self._take_back(self.owed, self.listing, asked.by),
            name="take a number off the do-not-call list",
        )
        self.listing = self.owed = None  # from now on, another request is a new one
        if asked.by == "words":
            self._speak_after(Situation.CALLED_AGAIN, after=self._taking_back)
        return True

    async def _take_back(self, owed: OwedNumber, listing: "asyncio.Task[None]", by: str) -> str:
        """Take the number off the list, emit that, and return the result for the model.

        If that fails and the number is on the list, it counts as this call's listing again.
        """
        if not await self.opt_outs.take_back(owed, listing):
            if self.listing is None and _is_listed(listing):
                self.owed, self.listing = owed, listing
            return NOT_TAKEN_BACK
        self._emit(DoNotCallTakenBack(turn=self._turn(), by=by))
        return TAKEN_BACK

    def _speak_after(
        self, situation: Situation, *, after: "asyncio.Task[Any] | None" = None
    ) -> None:
        """Say a prepared sentence once a task has succeeded; it replaces one not said yet."""

        async def say() -> None:
            if after is not None:
                await asyncio.wait({after})
                if after.cancelled() or after.result() not in (None, TAKEN_BACK):
                    return
            await self._say(situation)

        if self._saying:
            self._saying.cancel()
        self._saying = asyncio.get_running_loop().create_task(say(), name="confirm an opt-out")

    def begin(
        self, by: str, words: str = "", *, owed: OwedNumber | None = None
    ) -> "asyncio.Task[None]":
        """Return the task that lists the number; begin it unless there is one.

        Args:
            by: How the request was recognised.
            words: The words of the request; the latest ones if empty.
            owed: What an earlier process of a resumed call lists, or has listed.
        """
        if self.listing is None or self.listing.cancelled():  # cancelled: dropped by `OptOuts`
            self._request = (self._turn(), by)
            words = words or self._words or self._stored(" ".join(self._finals))
            self.owed = owed or OwedNumber(
                call_id=self._call_id,
                number=self._number,
                source=f"{SOURCE}{by}",
                asked_s=self._utc_s(),
                dial_id=self._dial_id,
                also=self._also,
                words=words[-MAX_WORDS:],
            )
            self.listing = self.opt_outs.start_listing(self.owed, after=self._taking_back)
            self._taking_back, self._unconfirmed = None, False
            self.listing.add_done_callback(self._emit_listed)
        return self.listing

    def _emit_listed(self, listing: "asyncio.Task[None]") -> None:
        """Emit `DoNotCallWanted` for a number that is listed, unless the call has been closed."""
        if not self._over and not listing.cancelled():
            turn, by = self._request
            self._emit(DoNotCallWanted(turn=turn, by=by))


def kept_number(requests: DoNotCallRequests) -> dict[str, Any]:
    """Return the number to list, listed or not, for a call's resume state; empty without one."""
    return asdict(requests.owed) if requests.owed and requests.listing else {}


def list_again(requests: DoNotCallRequests, kept: Mapping[str, Any]) -> None:
    """Begin to list this number again; to list it twice does no harm.

    So the resumed call reports it, and can take it back.
    """
    owed = from_plain(OwedNumber, kept)
    requests.begin(owed.source.removeprefix(SOURCE), owed=owed)


def _is_listed(listing: "asyncio.Task[None]") -> bool:
    return listing.done() and not listing.cancelled()
