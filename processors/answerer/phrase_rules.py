"""The phrases of people, mailboxes, menus and call-screening assistants, and their weights.

They are grouped by purpose: a machine says that the person is not available, explains what to do
after a tone, names itself, promises a call, offers keys. One pattern contains all wordings of one
such statement, so that no statement is counted twice. Patterns match words without punctuation or
accents, as `plain` returns them.

Each phrase in the recognised text has points. A machine must be ahead of a person by the points of
one sentence that only machines say. So a person who offers to take a message, in a machine's words,
still counts as a person, and a single misrecognised word decides nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# The points of a phrase.
ALONE: Final = 4  # a machine's sentence, which a person may still quote: "Press one? Why?"
WITH_ANOTHER: Final = 2  # people say it, too
OPENER: Final = 1  # the beginning of firms' greetings, by a person or a machine


class Cue(StrEnum):
    """What a phrase indicates."""

    SCREENING = "screening"  # a call-screening assistant asks who calls, and why
    HOLD = "hold"  # the assistant asks us to wait for the person
    MENU = "menu"  # a telephone menu
    FULL = "full"  # a mailbox that takes no message
    VOICEMAIL = "voicemail"
    PERSON = "person"


_DIGIT: Final = r"(\d|zero|one|two|three|four|five|six|seven|eight|nine|star|pound|hash)\b"
_CIFRA: Final = r"(el )?(\d|cero|uno|dos|tres|cuatro|cinco|seis|siete|ocho|nueve)\b"
_MESSAGE: Final = r"((brief|short|detailed|quick|voice|and) )*(message|name|number|details)\b"
_SMALL: Final = r"((me|us|a|an|the|your) )*"
_CANNOT: Final = (
    r"(cant|cannot|can not|(am|are|is|im|were) (not able|unable) to|(not able|unable) to)"
)
_KEY_VERBS: Final = r"(oprima|marque|presione|pulse)"

PHRASES: Final[Mapping[Cue, Mapping[str, int]]] = {
    Cue.SCREENING: {
        r"screening (service|assistant|calls?)|(virtual|digital) assistant (of|for)": ALONE,
        r"youre calling is using|(ill|to) see if (this|the) person is available": ALONE,
        r"(party|person|subscriber|customer|number) (\w+ ){1,6}(not|only) accepts? calls": ALONE,
        r"before i try to connect you": ALONE,
        r"asistente virtual": ALONE,
        # People say these, too, to unknown callers.
        r"(not|only) accepts? calls|unknown callers": WITH_ANOTHER,
        r"before i connect you": WITH_ANOTHER,
        r"(say|state|record|tell me|give me|provide) (\w+ )?name\b"
        r"|diga(me)? (\w+ )?nombre|назовите (себя|свое имя|ваше имя)": WITH_ANOTHER,
        r"(reason|purpose|why) (\w+ ){0,3}call(ing)?\b"
        r"|motivo (\w+ ){0,2}llamada|(цель|причину) (вашего )?звонка": WITH_ANOTHER,
    },
    Cue.HOLD: {
        r"(please )?(stay on|hold) the line|please (hold|wait)": ALONE,
        r"(permanezca|espere) en (la )?linea": ALONE,
        r"(оставайтесь|не вешайте|подождите)": ALONE,
    },
    Cue.MENU: {
        rf"press (the )?{_DIGIT}": ALONE,
        rf"{_KEY_VERBS} {_CIFRA}|нажмите\b": ALONE,
        r"^(\w+ ){0,12}(for|to) (\w+ ){1,6}press\b|say (\w+ ){1,4}or press": ALONE,
        rf"para (\w+ ){{1,6}}{_KEY_VERBS}\b": ALONE,
        r"(main|following) (menu|options)|menu options|(of the|these|following) options": ALONE,
        r"(please )?(choose|select) (from|one of|an option)": ALONE,
        r"(dial|enter|say) (\w+ ){0,4}(extension|account number)|know (\w+ )?extension": ALONE,
        r"(operators|agents|representatives|advisers|advisors|lines) are (\w+ )?(busy|assisting)"
        r"|your call is (very )?important|number (\w+ )?in (the|our) queue": ALONE,
        r"in a few words": ALONE,
        r"(наберите|введите) (\w+ )?(добавочный|внутренний|номер)"
        r"|дождитесь ответа|ваш звонок (очень )?важен": ALONE,
        r"(calls?|conversation) (may|will|is|are) (be |being )?(recorded|monitored)": WITH_ANOTHER,
        r"you can say|listen (carefully|closely)|please listen": WITH_ANOTHER,
        r"\b(menu|options?|extension)\b": WITH_ANOTHER,
    },
    Cue.FULL: {
        r"(mailbox|voicemail|inbox|memory|box) is full": ALONE,
        r"cannot (accept|take) (any )?(more |new )?messages": ALONE,
        r"buzon (\w+ ){0,3}lleno": ALONE,
        r"(ящик|память) (\w+ ){0,3}(заполнен|переполнен)": ALONE,
    },
    Cue.VOICEMAIL: {
        r"(after|at|following) (\w+ ){0,2}(tone|beep|bleep|signal)\b": ALONE,
        r"(voice ?mail|mail ?box) (of|for|service|system)\b"
        r"|(message|answering) (service|system)": ALONE,
        r"(person|subscriber|customer|party|user) (that )?(you|youre|youve)( are| have)?"
        r"( trying to)? (call|calling|called|dialed|dialled|reach|reached|reaching) "
        r"(is (not|un\w+|busy|currently|temporarily)|cannot|can not|has not)": ALONE,
        r"number (that )?(you|youve)( have| are)? (dialed|dialled|called|calling) (\w+ ){1,3}"
        r"(not|un\w+|busy|invalid|disconnected|changed|service)\b": ALONE,
        rf"\b(i|we|im|were) (\w+ )?{_CANNOT} (come|get) to (the|my|our) (tele)?phone": ALONE,
        r"forwarded to (an? |the )?(auto|voice)": ALONE,
        r"if this is an? (\w+ )?emergency|record (a|your) message": ALONE,
        r"(despues|tras|oir) (\w+ ){0,2}(senal|tono)\b": ALONE,
        r"buzon de|contestador (de|automatico)": ALONE,
        r"(persona|abonad[oa]|usuari[oa]|cliente|numero) (\w+ ){0,4}no se encuentra": ALONE,
        r"после (\w+ )?(сигнала|гудка)": ALONE,
        r"голосов(ая|ой|ую) (почт|ящик)|(это|вас приветствует) (\w+ )?автоответчик": ALONE,
        r"абонент\w* (не|временно|сейчас|недоступен|находится|выключен)": ALONE,
        # People say these, too.
        r"voice ?mail|mail ?box|answering machine|автоответчик|contestador": WITH_ANOTHER,
        rf"leave {_SMALL}{_MESSAGE}|\bmessages?\b": WITH_ANOTHER,
        r"not available|unavailable|(no ?one|nobody) is (\w+ )?(home|here|available|able)"
        r"|not (here|in|home|at home|at my desk)\b": WITH_ANOTHER,
        r"away from (my|the|our)|out of (the )?office|on (holiday|vacation|leave)": WITH_ANOTHER,
        rf"{_CANNOT} (come to|get to|answer|pick up|take)\b"
        r"|no (puedo|podemos) (atender|contestar)"
        r"|не (могу|можем) (сейчас )?(подойти|ответить)": WITH_ANOTHER,
        r"(is|has|have|been|call) (forwarded|redirected|diverted)|forwarded to": WITH_ANOTHER,
        r"know what to do|\b(tone|beep|bleep)\b|сигнала": WITH_ANOTHER,
        r"(call|ring|get back to) you|return your call|when i return": WITH_ANOTHER,
        r"sorry (i|we)( have|ve)? (missed|cant)|missed your call": WITH_ANOTHER,
        r"(send|leave) (me|us) a text|text me": WITH_ANOTHER,
        r"(try|call) (your call )?(back |again )?later|try again": WITH_ANOTHER,
        r"(is|are) (now |currently )?closed|(opening|office|business) hours": WITH_ANOTHER,
        r"(person|subscriber|customer|party) (that )?(you|youre|youve)": WITH_ANOTHER,
        r"ha llamado a|le (llamaremos|devolver)|no (esta(mos)?|se encuentra) disponible"
        r"|number (that )?(you|youve)( have| are)? (dialed|dialled|called|calling)": WITH_ANOTHER,
        r"перезвон(ю|им)|абонент": WITH_ANOTHER,
        r"оставьте|сообщени": WITH_ANOTHER,
        r"mensaje|deje (\w+ )?nombre|senal": WITH_ANOTHER,
        r"(youve|you have) reached|thank(s| you) for (calling|your call)|welcome to"
        r"|bienvenid|gracias por (llamar|su llamada)|вы позвонили|вас приветствует": OPENER,
    },
    Cue.PERSON: {
        r"(how|what) (may|can|could) (i|we) (help|do|get|direct)|(how|what) can i\b": ALONE,
        r"(can|could|may|shall) (i|we|he|she) (help|take|ask|know|have|call|ring)": ALONE,
        r"(would|do|did|are|can|could) you (\w+ )?"
        r"(like|want|leave|hear|calling|looking|be|call|hold)": ALONE,
        r"who(s| is) (this|calling|there|that|it|speaking)|(who|what) (do you want|are you)": ALONE,
        r"like to leave|with me\b|tell (him|her|them)|give (him|her|them)": ALONE,
        r"speaking$|is speaking\b|speaking how|this is (he|she)\b": ALONE,
        r"(en que|como) (puedo|podemos|le) |quien (es|habla|llama)|(desea|quiere) dejar": ALONE,
        r"(чем|как) (я )?(могу|можем) (вам )?помочь|кто (это|говорит|звонит)|слушаю": ALONE,
        r"(хотите|желаете|будете) (\w+ ){0,3}оставить": ALONE,
        r"\b(he|she|hes|shes)\b": WITH_ANOTHER,  # said on another person's behalf
        r"\bis (this|that|it) (you|the|about)\b|hello (\w+ ){0,6}hello": WITH_ANOTHER,
    },
}


_COMPILED: Final = {
    cue: tuple((re.compile(phrase), points) for phrase, points in phrases.items())
    for cue, phrases in PHRASES.items()
}
_ACCENTS: Final = str.maketrans("áéíóúüñё", "aeiouun\N{CYRILLIC SMALL LETTER IE}")
_GREETS: Final = re.compile(r"(hello|hi|hey|yes|yeah|si|diga|digame|bueno|алло|да)\b")
GREETS_WORDS: Final = 3  # words of a short greeting, at most; as in Asterisk's AMD
MACHINES: Final = (Cue.SCREENING, Cue.MENU, Cue.FULL, Cue.VOICEMAIL)
BEEP_POINTS: Final = ALONE  # a beep after speech counts as much as a conclusive sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """The cues found in a text, with their points."""

    points: Mapping[Cue, int] = field(default_factory=dict[Cue, int])
    alone: frozenset[Cue] = frozenset()  # cues with one conclusive sentence
    greets: bool = False  # a short greeting and nothing else

    @property
    def person(self) -> int:
        """The points for a person."""
        return self.points.get(Cue.PERSON, 0)

    @property
    def definite(self) -> Cue | None:
        """The machine that is ahead of a person by one conclusive sentence, or `None`."""
        return self._ahead(ALONE)

    @property
    def certain(self) -> Cue | None:
        """The machine that is ahead by two conclusive sentences, or `None`."""
        return self._ahead(2 * ALONE)

    @property
    def sure(self) -> bool:
        """Whether `definite` rests on more than two phrases that people use, too."""
        return self.definite in self.alone or self.certain is not None

    @property
    def recorded(self) -> bool:
        """Whether the words are a recording's if the speech is as long as one.

        Two conclusive sentences, or more that people use, too, but not those alone.
        """
        return self.certain is not None and self.certain in self.alone

    @property
    def hinted(self) -> bool:
        """Whether machines' phrases have more points than a person's."""
        machine = sum(self.points.get(item, 0) for item in MACHINES)
        return machine > self.person

    @property
    def beeps(self) -> bool:
        """Whether a beep after these words would be that of a mailbox."""
        return BEEP_POINTS + self.points.get(Cue.VOICEMAIL, 0) - self.person - self.greets >= ALONE

    def _ahead(self, points: int) -> Cue | None:
        for machine in MACHINES:
            if self.points.get(machine, 0) - self.person >= points:
                return machine
        return None


def plain(text: str) -> str:
    """Return words in lower case, without accents and punctuation."""
    small = text.lower().translate(_ACCENTS)
    return " ".join(
        re.sub(r"[^\w ]", " ", re.sub("['\N{RIGHT SINGLE QUOTATION MARK}]", "", small)).split()
    )


def read_cues(text: str) -> Cues:
    """Return the cues in the words so far."""
    words = plain(text)
    matched = {cue: _points_for(cue, words) for cue in _COMPILED}
    alone = frozenset(cue for cue, points in matched.items() if max(points, default=0) >= ALONE)
    greets = len(words.split()) <= GREETS_WORDS and bool(_GREETS.match(words))
    points = {cue: sum(values) for cue, values in matched.items() if values}
    return Cues(points=points, alone=alone, greets=greets)


def _points_for(cue: Cue, words: str) -> list[int]:
    return [points for phrase, points in _COMPILED[cue] if phrase.search(words)]
