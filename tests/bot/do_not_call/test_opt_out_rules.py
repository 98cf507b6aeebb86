"""Opt-outs are recognised in a person's words, in each supported language."""
# ruff: noqa: RUF001 - Russian has letters that look like Latin ones

import re
from pathlib import Path
from time import process_time

import pytest

from bot.do_not_call.opt_out_rules import (
    is_clear_yes,
    may_name_calls,
    wants_calls_after_all,
    wants_no_calls,
)
from bot.do_not_call.opt_out_words import LANGUAGES

WISHES = {
    "en": (
        "I have asked you before, I've asked you before to stop calling me.",
        "Take my number off your list and the waiting list.",
        "Remove me from your list, not the guest list.",
        "I don't know who you are, stop calling me.",
        "Where did you get this number, take me off your list.",
        "This number is not to be called again.",
        "I wonder if you could take me off your calling list.",
        "I don't know why you have my number, just stop calling me.",
        "Take me off the waiting list and stop calling me.",
        "Take me off your marketing list.",
        "Would you be so kind as to take me off your list?",
        "I'd appreciate it if you didn't call me again.",
        "Don't call it again.",
        "Kindly refrain from calling me.",
        "I've asked you before to stop calling me.",
        "Please stop phoning me.",
        "Please cease all calls to this number.",
        "Don't bother calling again.",
        "You're not allowed to call me anymore.",
        "Unsubscribe me from these calls.",
        "I do not wish to be contacted by phone.",
        "Stop harassing me with these calls.",
        "Quit bothering us with your phone calls!",
        "Don't you dare call me again.",
        "Please don't call me again.",
        "Do not call me anymore!",
        "Stop calling me",
        "Stop calling.",
        "Stop calling me now!",
        "Never call here again",
        "Take me off your list",
        "Please take me out of your calling system.",
        "Remove my number from your list, please",
        "Delete my number from your database.",
        "Put me on the do not call list",
        "I don't want any more calls",
        "I don\N{RIGHT SINGLE QUOTATION MARK}t want you to call, okay?",
        "Lose my number",
        "You people need to stop calling me.",
        "Please remove my number.",
        "These calls have to stop.",
        "Don't call again",
        "I am not interested so please do not call this number again",
        "Could you please take me off your calling list?",
        "Would you stop calling me?",
        "I told you not to call me again.",
        "I said stop calling me.",
        "My name is Ada Brown and I want to be removed from your list.",
        "No more calls, please.",
        "I'm busy today. Don't ever call me again.",
        "I don't accept cold calls.",
        "Don't call me again, I'm at work.",
        "hello no thank you please do not call again",
        "I'd prefer not to be called again.",
    ),
    "es": (
        "Que no me vuelvan a llamar.",
        "Dejen ya de llamarme, por favor.",
        "Le pido que no me vuelva a llamar.",
        "Ya les dije que no me llamen.",
        "Ya no me llamen.",
        "No quiero que me vuelvan a llamar.",
        "No me llame más",
        "No me vuelva a llamar",
        "Dejen de llamar, por favor",
        "No quiero más llamadas",
        "Quíteme de la lista",
        "Borre mi número, por favor.",
        "¿Podría quitarme de su lista?",
        "Por favor, no nos vuelvan a llamar nunca más.",
        "No quiero que me llamen.",
    ),
    "ru": (
        "Не звоните больше в наш офис.",
        "Не звоните моей жене.",
        "Не звоните больше по этому номеру.",
        "Больше не звоните на этот номер.",
        "Не звоните мне больше никогда.",
        "Я просил вас не звонить.",
        "Я же просил не звонить мне больше.",
        "Можете как можно скорее удалить меня из списка?",
        "Я просил мне больше не звонить.",
        "Прошу исключить меня из списка.",
        "Больше не звоните мне",
        "Не звоните сюда больше",
        "Перестаньте мне звонить!",
        "Удалите мой номер",
        "Не надо больше звонить",
        "Пожалуйста, никогда больше не звоните мне.",
        "Удалите меня из вашей базы.",
        "Прекратите звонить.",
        "Могли бы вы удалить меня из списка?",
    ),
    "de": (
        "Streichen Sie mich aus Ihrer Mitgliederliste.",
        "Ich weiß nicht, wer Sie sind, rufen Sie mich nicht mehr an.",
        "Unterlassen Sie bitte künftig jegliche Anrufe.",
        "Ich widerspreche der telefonischen Werbung.",
        "Streichen Sie mich von Ihrer Anrufliste.",
        "Ich habe Ihnen gesagt, ich möchte Sie bitten, nicht anzurufen.",
        "Könnten Sie, wie besprochen, meine Nummer löschen?",
        "Ich habe Ihnen schon gesagt, dass Sie mich nicht mehr anrufen sollen.",
        "Ich verbitte mir weitere Anrufe.",
        "Rufen Sie mich bloß nicht nochmal an!",
        "Melden Sie sich bitte nicht mehr telefonisch bei mir.",
        "Lassen Sie mich mit Ihren Anrufen in Ruhe.",
        "Bitte nicht mehr anrufen.",
        "Ich widerspreche weiteren Werbeanrufen.",
        "Sie sollen mich nicht mehr anrufen.",
        "Rufen Sie mich bitte nie wieder an.",
        "Rufen Sie hier nicht mehr an!",
        "Ruf mich nicht mehr an.",
        "Bitte nehmen Sie mich von Ihrer Liste.",
        "Löschen Sie meine Nummer.",
        "Hören Sie auf, mich anzurufen.",
        "Ich möchte keine Anrufe mehr.",
        "Ich will nicht mehr angerufen werden.",
        "Können Sie mich bitte aus Ihrer Kartei löschen?",
        "Streichen Sie uns bitte aus Ihrem System.",
    ),
    "fr": (
        "N'appelez pas mon numéro.",
        "Ne rappelez plus ce numéro.",
        "N'appelez plus ce numéro.",
        "Je n'accepte plus vos appels.",
        "Je ne veux pas être démarché par téléphone.",
        "Je ne souhaite plus recevoir d'appels.",
        "Je refuse d'être démarché.",
        "Plus d'appels, merci.",
        "Stop aux appels.",
        "Ne m'appelez plus.",
        "S'il vous plaît, ne m\N{RIGHT SINGLE QUOTATION MARK}appelez plus jamais.",
        "Ne me rappelez jamais.",
        "Arrêtez de m'appeler !",
        "Retirez-moi de votre liste.",
        "Supprimez mon numéro.",
        "Je ne veux plus d'appels.",
        "Je ne veux plus être appelé.",
        "Merci de ne plus m'appeler.",
        "Pourriez-vous me retirer de votre fichier ?",
        "Merci de retirer mon numéro de votre base de données.",
    ),
    "it": (
        "Non mi chiami più, signora.",
        "Non chiamate più il mio cellulare.",
        "Non chiamate più mio marito.",
        "Non so chi siete, non chiamatemi più.",
        "Non chiamate mai più la nostra casa.",
        "Non chiamate più questo numero.",
        "Non mi chiamate più, per favore.",
        "Non mi contatti più per telefono.",
        "Non voglio più essere disturbato al telefono.",
        "Le chiedo di non chiamarmi più.",
        "Non chiamatemi più.",
        "Smettetela di chiamarmi.",
        "Non voglio più ricevere telefonate.",
        "Toglietemi dalla vostra lista.",
        "Cancellate il mio numero.",
    ),
    "pt": (
        "Retire o meu número da lista.",
        "Já lhe disse para não me ligar mais.",
        "Quero sair da vossa lista de chamadas.",
        "Parem com as ligações.",
        "Peço-lhe que não me ligue mais.",
        "Não me ligue mais.",
        "Parem de me ligar.",
        "Retirem-me da vossa lista.",
        "Não quero mais chamadas.",
    ),
    "nl": (
        "Haal me van uw ledenlijst.",
        "Haal me van uw bellijst.",
        "Haal mij van uw lange bellijst.",
        "Kunt u mij van de lijst halen?",
        "Ik wil niet dat u mij nog belt.",
        "Bel me alsjeblieft nooit meer op.",
        "Kunt u mijn nummer verwijderen?",
        "Bel me nooit meer.",
        "Belt u mij niet meer.",
        "Stop met bellen.",
        "Haal mij van uw lijst.",
        "Ik wil niet meer gebeld worden.",
    ),
    "pl": (
        "Nie dzwońcie na moją komórkę.",
        "Nie dzwońcie więcej na telefon.",
        "Proszę więcej nie dzwonić pod ten numer.",
        "Nie dzwońcie więcej na ten numer.",
        "Czy możecie jak najszybciej usunąć mój numer z listy?",
        "Niech pan przestanie do mnie dzwonić.",
        "Wycofuję zgodę na kontakt telefoniczny.",
        "Nie dzwońcie do mnie więcej.",
        "Proszę przestać dzwonić.",
        "Proszę usunąć mój numer z listy.",
    ),
    "tr": (
        "Eşimi aramayın.",
        "Bu telefonu aramayın.",
        "Bir daha annemi aramayın.",
        "Numaramı aramayın.",
        "Daha fazla arama almak istemiyorum.",
        "Verilerimi sisteminizden silin.",
        "Bir daha aramayın.",
        "Lütfen beni aramayın artık.",
        "Numaramı kayıtlarınızdan siler misiniz?",
        "Beni bir daha aramayın.",
        "Numaramı listenizden silin.",
        "Aranmak istemiyorum.",
    ),
}

OTHERS = {
    "en": (
        "I wonder whether I should take my number off your list.",
        "I'd like to know how to delete my number.",
        "Please delete my number from the guest list.",
        "Take my name off the wedding list.",
        "Can you explain why I should take my number off your list?",
        "Why would I want to stop your calls?",
        "Why would you stop calling me?",
        "I don't want to miss your call.",
        "Stop calling me sir.",
        "Stop calling me names!",
        "Don't you call me every week?",
        "Stop bothering me with questions.",
        "Don't bother me with the details.",
        "Remove me from the email list, calls are fine.",
        "Stop bothering me with these questions.",
        "Please take me off your mailing list.",
        "Please stop texting me.",
        "Don't contact me by email, please.",
        "Get me off this list of questions.",
        "I never want to hear about that again.",
        "Take me off speaker, please.",
        "Take me off hold.",
        "Nobody ever calls me back from your company.",
        "Please don't call me after six.",
        "Don't call me before noon.",
        "Don't call me, please, before noon.",
        "Before noon, don't call me.",
        "Don't call me back, I will call you",
        "Do not call me tomorrow",
        "Don't call me at work.",
        "Don't call me right now.",
        "Don't call me while I am driving.",
        "Stop calling me so early.",
        "Don't call me on Sundays.",
        "Call me again on Monday",
        "Can you call me?",
        "Stop, please repeat that",
        "I don't want to be called at noon, that is all I said about Monday",
        "What is your number?",
        "Take my number down",
        "Take me off your list of vegetarians' allergies? No.",
        "Why don't you call me again?",
        "Did you take me off your list?",
        "Am I on the do not call list?",
        "What happens if I say stop calling me?",
        "Please don't take me off your list.",
        "I never said stop calling me.",
        "I'm not saying don't call me again.",
        "Don't stop calling me.",
        "My wife says don't call her again.",
        "He told them to stop calling him.",
        "They never call me again after the sale.",
        "She wants you to take her off the list.",
        "Don't call me Bob, call me Robert.",
        "Take the coat off my order.",
        "Remove me from the speaker phone.",
        "I want more calls from you.",
        "Take me off the waiting list for Friday.",
        "I don't want to call the wrong number.",
        "Don't call me on my cell, call the landline.",
        "Please delete my number from the order and use my wife's.",
        "",
    ),
    "es": (
        "Quíteme de la lista de espera.",
        "Borre mi número de la lista de invitados.",
        "Borre mi número antiguo y apunte el nuevo.",
        "No quiero perder su llamada.",
        "No me moleste con los detalles.",
        "No me llame mañana",
        "No me llame después de las seis",
        "Llámeme mañana",
        "¿Por qué no me llaman más?",
        "Quíteme el altavoz, por favor.",
        "Nadie me llama nunca.",
        "Mi esposa dice que no me llamen más.",
        "No me quite de la lista.",
        "No me llame antes del mediodía, por favor.",
        "No me llame al móvil, llámeme a casa.",
    ),
    "ru": (
        "Не звоните в полицию.",
        "Мне интересно, почему вы больше не звоните.",
        "Удалите меня из списка покупок.",
        "Прошу исключить меня из списка ожидания.",
        "Можете удалить мой номер из списка гостей?",
        "Удалите мой номер телефона из вашего списка заказов.",
        "Я просил его не звонить.",
        "Вы можете сказать, почему мне больше не звоните?",
        "Я не хочу пропустить звонок.",
        "Не звоните мне после шести",
        "Не звоните мне до обеда.",
        "Позвоните мне завтра",
        "Почему вы мне больше не звоните?",
        "Мне никто никогда не звонит.",
        "Жена сказала, не звоните ей больше.",
        "Уберите громкую связь, пожалуйста.",
        "Не удаляйте меня из списка.",
        "Не звоните мне по выходным.",
        "Не звоните на мобильный, звоните домой.",
    ),
    "de": (
        "Ich frage mich, ob Sie meine Nummer löschen.",
        "Ich wüsste gern, warum Sie mich nicht mehr anrufen.",
        "Nehmen Sie mich von der Warteliste.",
        "Löschen Sie meine Nummer von der Gästeliste.",
        "Ich habe Ihnen gesagt, ich kann sie nicht anrufen.",
        "Würden Sie mir bitte sagen, warum Sie mich nicht mehr anrufen?",
        "Können Sie mir erklären, wie Sie meine Nummer löschen?",
        "Könnten Sie kurz prüfen, ob Sie meine Nummer löschen können?",
        "Ich habe Ihnen nicht gesagt, dass Sie nicht anrufen sollen.",
        "Meine Tochter will nicht mehr angerufen werden.",
        "Ich will keinen Anruf verpassen.",
        "Sie rufen mich nie an!",
        "Bitte nehmen Sie mich aus dem Newsletter.",
        "Stören Sie mich nicht mit Einzelheiten.",
        "Rufen Sie mich nicht vor zwölf an.",
        "Rufen Sie mich heute nicht mehr an.",
        "Rufen Sie mich bitte morgen wieder an.",
        "Warum rufen Sie mich nicht mehr an?",
        "Niemand ruft mich je zurück.",
        "Nehmen Sie mich vom Lautsprecher.",
        "Nehmen Sie mich nicht von der Liste.",
        "Meine Frau sagt, rufen Sie nicht mehr an.",
        "Ich möchte nicht abends angerufen werden.",
    ),
    "fr": (
        "N'appelez pas la police.",
        "Je me demande pourquoi vous ne m'appelez plus.",
        "Retirez-moi de la liste d'attente.",
        "Enlevez mon numéro de la liste des invités.",
        "Je n'accepte pas les appels masqués.",
        "Je n'accepte pas votre appel d'offres.",
        "Je ne veux pas recevoir vos appels d'offres.",
        "Je ne veux pas manquer votre appel.",
        "Ne me dérangez pas avec les détails.",
        "Ne m'appelez pas avant midi.",
        "Ne m'appelez plus le matin.",
        "Rappelez-moi demain.",
        "Pourquoi ne m'appelez-vous plus ?",
        "Personne ne me rappelle jamais.",
        "Enlevez le haut-parleur, s'il vous plaît.",
        "Ne me retirez pas de votre liste.",
        "Ma femme dit : ne m'appelez plus.",
        "Ne m'appelez pas au travail.",
    ),
    "it": (
        "Non chiami la polizia.",
        "Mi chiedo perché non mi chiamate più.",
        "Vorrei sapere se avete cancellato il mio numero.",
        "Mi tolga dalla lista d'attesa.",
        "Cancelli il mio numero dalla lista degli ospiti.",
        "Potete dirmi perché non mi chiamate più?",
        "Non voglio perdere la chiamata.",
        "Non mi chiami Maria, mi chiamo Anna.",
        "Non le ho detto di non chiamare più.",
        "Non chiamatemi prima di mezzogiorno.",
        "Perché non mi chiamate più?",
        "Non mi disturbi con i dettagli.",
        "Mia moglie dice di non chiamare più.",
    ),
    "pt": (
        "Gostaria de saber se apagaram o meu número.",
        "Apague o meu número da lista de casamento.",
        "Quero sair da lista de espera.",
        "Retire o meu número da lista de convidados.",
        "Ele disse para não ligar mais.",
        "Não me ligue às cinco.",
        "Apague o meu número antigo e anote o novo.",
        "Não quero perder a sua chamada.",
        "Não ligue para o meu marido.",
        "Não me ligue antes do meio-dia.",
        "Por que não me ligam mais?",
        "Tire-me da lista de emails.",
    ),
    "nl": (
        "Ik vraag me af waarom jullie niet meer bellen.",
        "Kunt u mij van de wachtlijst halen?",
        "Kunt u mijn naam van de gastenlijst halen?",
        "Haal mijn nummer van de wacht lijst.",
        "Mijn dochter wil niet gebeld worden.",
        "Bel me niet op het werk, bel me thuis.",
        "Ik wil uw telefoontje niet missen.",
        "Bel me niet voor de middag.",
        "Waarom bellen jullie niet meer?",
        "Haal mij van de mailinglijst.",
    ),
    "pl": (
        "Proszę nie dzwonić na policję.",
        "Chciałbym wiedzieć, czy usunęliście mój numer.",
        "Proszę mnie skreślić z listy oczekujących.",
        "Proszę usunąć mój numer z listy gości.",
        "Córka nie chce telefonów.",
        "Proszę nie dzwonić do pracy, tylko do domu.",
        "Nie dzwońcie do poniedziałku.",
        "Nie dzwońcie do mnie przed południem.",
        "Dlaczego już nie dzwonicie?",
        "Proszę usunąć mnie z listy mailingowej.",
    ),
    "tr": (
        "Polisi aramayın.",
        "Kızım aranmak istemiyor.",
        "Beni işten aramayın, evden arayın.",
        "Eski numaramı silin, yenisini yazın.",
        "Beni yarın aramayın.",
        "Neden beni aramıyorsunuz?",
    ),
}

BACK = {
    "en": (
        "Feel free to call me anytime.",
        "No, you can still call me.",
        "Please keep me on the list.",
        "Actually, please do call me.",
        "Take me off the do not call list, please.",
        "I would like to be called after all.",
        "It's fine, calls are okay.",
    ),
    "es": ("Me gustaría que me llamaran.", "Pueden llamarme otra vez.", "Quiero que me llamen."),
    "ru": ("Можете мне звонить.", "Звоните мне."),
    "de": (
        "Setzen Sie mich bitte wieder auf die Liste.",
        "Sie dürfen mich gern wieder anrufen.",
        "Rufen Sie mich ruhig wieder an.",
    ),
    "fr": ("Vous pouvez encore m'appeler.", "Je veux bien recevoir vos appels."),
    "it": ("Potete chiamarmi.",),
    "pt": ("Podem ligar-me.",),
    "nl": ("U mag mij weer bellen.",),
    "pl": ("Mogą państwo do mnie dzwonić.",),
    "tr": ("Beni arayabilirsiniz.",),
}
REFUSALS = (
    *("No, I do not want that.", "I didn't ask for this call!", "Das wollte ich nicht."),
    *("I didn't mean that.", "No quise decir eso.", "Das habe ich nicht so gemeint."),
    *("Я не это имел в виду.", "J'ai changé d'avis.", "I changed my mind.", "Take that back."),
    *("You called me three times!", "Why do you keep calling me?", "You can't call me."),
    *("Keep me on the do not call list.", "Don't take me off that list.", "Can you call me?"),
    *("Yes.", "Thank you, goodbye.", "Okay."),
)


def _each(table: dict[str, tuple[str, ...]]) -> list[str]:
    return [sentence for sentences in table.values() for sentence in sentences]


@pytest.mark.parametrize("said", _each(WISHES))
def test_a_request_for_no_more_calls_is_recognised(said: str) -> None:
    assert wants_no_calls(said)


@pytest.mark.parametrize("said", _each(OTHERS))
def test_another_request_is_not_taken_for_an_opt_out(said: str) -> None:
    assert not wants_no_calls(said)


@pytest.mark.parametrize("said", _each(BACK))
def test_an_opt_out_can_be_withdrawn(said: str) -> None:
    assert wants_calls_after_all(said)


@pytest.mark.parametrize("said", _each(WISHES))
def test_a_model_is_asked_about_each_request(said: str) -> None:
    assert may_name_calls(said, "en")


@pytest.mark.parametrize("said", ["Sluta ringa mig.", "Mata soittamasta.", "もう電話しないで。"])
@pytest.mark.parametrize(("language", "asks"), [("sv", True), ("ja-JP", True), ("en", False)])
def test_in_a_language_without_patterns_a_model_is_asked_about_all_words(
    said: str, language: str, *, asks: bool
) -> None:
    assert may_name_calls(said, language) is asks
    assert not may_name_calls(" … ", language)


@pytest.mark.parametrize(
    "said",
    [
        *("Yes.", "Yes, please.", "Um, yes.", "Ja, gern.", "Sí, claro.", "Да", "Evet.", "Tak."),
        *("Yes, that's fine.", "Yes, I am.", "Claro que sí.", "Ja, dat mag.", "Tak, zgadzam się."),
        *(
            "Yes, you can call me again.",
            "Yes sir, thank you.",
            "Exactly.",
            "Ja, das stimmt, danke.",
        ),
    ],
)
def test_a_plain_yes_is_clear(said: str) -> None:
    assert is_clear_yes(said)


@pytest.mark.parametrize(
    "said",
    [
        *(*REFUSALS[:-3], "", "Yes?", "Yes, but not now.", "Okay, no.", "Nein.", "Maybe yes."),
        *("Yes, delete my number.", "Ja, lassen Sie mich in Ruhe.", "Sí, déjeme en paz."),
        *(
            "Yes, I hate you.",
            "I am fine, thank you.",
            "Okay, whatever.",
            "Yes, keep me on the list.",
            "Ok, bye.",
            "Thanks.",
        ),
        *("What?", "Si no, cuelgo.", "Jein.", "Yes I want you to stop calling."),
    ],
)
def test_anything_else_is_no_clear_yes(said: str) -> None:
    assert not is_clear_yes(said)


@pytest.mark.parametrize("said", [*_each(WISHES), *REFUSALS])
def test_other_words_withdraw_no_opt_out(said: str) -> None:
    assert not wants_calls_after_all(said)


ONE_BREATH = [
    line.split("\t")
    for line in (Path(__file__).parent / "one_breath.tsv").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_said_before_a_request_in_the_same_breath_does_not_hide_it(language: str) -> None:
    """Each sentence is also tried as recognisers write it: in small letters, without marks."""
    for tag, is_request, said in ONE_BREATH:
        if tag == language:
            bare = re.sub(r"[^\w\s'-]", "", said).casefold()
            expected = (said, is_request == "yes", is_request == "yes")
            assert (said, wants_no_calls(said), wants_no_calls(bare)) == expected


@pytest.mark.parametrize("said", ["i told you already " * 20 + "well ", "i don't call me today "])
def test_a_long_text_is_judged_soon(said: str) -> None:
    started = process_time()
    assert not wants_no_calls(f"{said}don't call me today " * 200)
    assert process_time() - started < 3


def test_each_supported_language_is_tested() -> None:
    assert {tag for tag, _, _ in ONE_BREATH} == LANGUAGES.keys()
    assert WISHES.keys() == OTHERS.keys() == BACK.keys() == LANGUAGES.keys()
