"""What words give away who has picked up: a person, a machine, a menu, a telephone's assistant.

Plain phrases in English, Spanish and Russian, looked for in what was recognised so far. A definite
phrase decides by itself, so only what no person says to a caller stands there; a hint is said by
both, and needs a second one or a beep beside it. A person who offers to take a message uses the
machine's words, so what people ask is looked for first.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Cue(StrEnum):
    """What a phrase gives away."""

    SCREENING = "screening"  # a telephone's assistant asks who calls, and why
    HOLD = "hold"  # it asks us to wait for the person
    MENU = "menu"
    FULL = "full"  # a mailbox that takes no message
    VOICEMAIL = "voicemail"
    HINT = "hint"  # of voicemail
    PERSON = "person"


PHRASES: Final[Mapping[Cue, tuple[str, ...]]] = {
    Cue.SCREENING: (
        r"(say|state|record|tell me|give) your name and (the )?(reason|why|purpose)",
        r"reason for (your )?call(ing)?",
        r"screening (service|assistant|calls?)",
        r"(this|the) person youre calling is using",
        r"ill see if (this|the) person is available",
        r"(say|state|record) your name after the (tone|beep)",
        r"diga su nombre y (el motivo|por que)",
        r"motivo de (su|la) llamada",
        r"назовите (себя|свое имя|ваше имя)( и|,)? .*(цель|причину)",
        r"(цель|причину) (вашего )?звонка",
    ),
    Cue.HOLD: (
        r"(please )?(stay on|hold) the line",
        r"please (hold|wait)",
        r"(permanezca|espere) en (la )?linea",
        r"(оставайтесь|не вешайте|подождите)",
    ),
    Cue.MENU: (
        r"press (the )?(\d|zero|one|two|three|four|five|six|seven|eight|nine|star|pound|hash)\b",
        r"(main|following) (menu|options)",
        r"menu options have",
        r"para .{2,40} (oprima|marque|presione|pulse)( el)? (\d|uno|dos|tres|cuatro|cinco)",
        r"(oprima|marque|presione|pulse) (el )?(\d|uno|dos|tres|cuatro|cinco)\b",
        r"нажмите (\d|ноль|один|два|три|четыре|пять|цифру|кнопку|решетку)",
        r"наберите (добавочный|внутренний)",
        r"dial the extension",
        r"(dial|enter|say) .{0,30}(extension|account number)",
        r"say .{2,20} or press",
    ),
    Cue.FULL: (
        r"(mailbox|voicemail|inbox) (is|box is) full",
        r"cannot (accept|take) (any )?(more |new )?messages",
        r"buzon .{0,20}lleno",
        r"(ящик|память) .{0,20}(заполнен|переполнен)",
    ),
    Cue.VOICEMAIL: (
        r"(after|at|following) the (tone|beep|signal)",
        r"voice ?mail(box)?\b",
        r"mail ?box\b",
        r"answering machine",
        r"leave (me |us )?(a|your) (brief |short |detailed )*(name|message|number)( and|,)",
        r"(please|and|or|just|you can) leave (me |us )?(a|your)"
        r" (brief |short |detailed )*(name|message|number)",
        r"^(hi |hello )?(please )?leave (me |us )?(a|your) (brief |short )*(message|name)",
        r"(cant|cannot|not able to|unable to) (come to|answer|pick up|get to) (the|my|your)"
        r" (phone|telephone|call)",
        r"(cant|cannot|unable to|not able to) take your call",
        r"(has|have) been forwarded to",
        r"is not available to take your call",
        r"(person|number|subscriber|customer) you (are|have) (calling|dialed|reached|called) is"
        r" (not available|unavailable|not)",
        r"get back to you as soon",
        r"record your message",
        r"(despues|tras) de(l)? (la senal|tono)",
        r"buzon de voz",
        r"contestador",
        r"deje (su|un|tu) (mensaje|nombre)",
        r"no (puedo|podemos) (atender|contestar)",
        r"no se encuentra disponible en este momento",
        r"после (звукового )?(сигнала|гудка)",
        r"оставьте (ваше |свое |нам |мне )?(голосовое )?сообщение",
        r"голосов(ая|ой|ую) (почт|ящик)",
        r"автоответчик",
        r"абонент (не|временно|сейчас|недоступен|находится)",
        r"не (могу|можем) (сейчас )?(подойти|ответить)",
    ),
    Cue.HINT: (
        r"(youve|you have) reached",
        r"leave (me |us )?(a|your)( brief| short| detailed)* (message|name|number)",
        r"not available|unavailable",
        r"not (here|in|home|at home)\b",
        r"away from (my|the|our)",
        r"you know what to do",
        r"(call|get back to|ring) you back|get back to you|return your call",
        r"thank(s| you) for calling",
        r"sorry (i|we) (missed|cant)",
        r"(has|have) called|usted (ha llamado|se ha comunicado)|ha llamado (a|al)",
        r"le (llamaremos|devolver)",
        r"вы позвонили",
        r"перезвон(ю|им)",
    ),
    Cue.PERSON: (
        r"(how|what) (may|can) (i|we) (help|do)",
        r"(can|could|may|shall) i (help|take|ask|know|have)",
        r"(would you|do you want to|like to) (like to )?leave",
        r"who(s| is) (this|calling|there|speaking)",
        r"(who|what) (do you want|are you)",
        r"speaking$|is speaking\b|this is (he|she)\b",
        r"(can|do) you hear",
        r"(en que|como) (puedo|podemos|le) ",
        r"quien (es|habla|llama)",
        r"(desea|quiere) dejar",
        r"(чем|как) (я )?(могу|можем) (вам )?помочь",
        r"кто (это|говорит|звонит)",
        r"(хотите|желаете|будете) .{0,20}оставить",
        r"слушаю( вас)?$",
    ),
}
"""Looked for in words without marks or accents, as `plain` leaves them."""

_COMPILED: Final = {
    cue: tuple(re.compile(each) for each in phrases) for cue, phrases in PHRASES.items()
}
_ACCENTS: Final = str.maketrans("áéíóúüñё", "aeiouun\N{CYRILLIC SMALL LETTER IE}")
DEFINITE: Final = (Cue.SCREENING, Cue.MENU, Cue.FULL, Cue.VOICEMAIL)
HINTS: Final = 2  # different ones that together are enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """What was found in some words."""

    found: frozenset[Cue]
    hints: int = 0  # different ones

    @property
    def definite(self) -> Cue | None:
        """Return what the words say beyond doubt; None: nothing."""
        person = Cue.PERSON in self.found
        for each in DEFINITE:
            if each in self.found and not (person and each in (Cue.VOICEMAIL, Cue.FULL)):
                return each
        return Cue.VOICEMAIL if self.hints >= HINTS and not person else None


def plain(text: str) -> str:
    """Return words in small letters without accents and marks."""
    small = text.lower().translate(_ACCENTS)
    return " ".join(
        re.sub(r"[^\w ]", " ", re.sub("['\N{RIGHT SINGLE QUOTATION MARK}]", "", small)).split()
    )


def read_cues(text: str) -> Cues:
    """Return what the words so far give away."""
    words = plain(text)
    hints = sum(1 for each in _COMPILED[Cue.HINT] if each.search(words))
    found = {cue for cue, phrases in _COMPILED.items() if _any(phrases, words)}
    return Cues(found=frozenset(found), hints=hints)


def _any(phrases: Iterable[re.Pattern[str]], words: str) -> bool:
    return any(each.search(words) for each in phrases)
