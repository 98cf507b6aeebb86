"""Phrases that reveal who has picked up."""
# ruff: noqa: RUF001 - letters of other alphabets

import pytest

from processors.answerer.phrase_rules import WITH_ANOTHER, Cue, read_cues, unaccented


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Please leave a message after the tone.", Cue.VOICEMAIL),
        (
            "Hi, you\N{RIGHT SINGLE QUOTATION MARK}ve reached Anna, I can't come to the phone",
            Cue.VOICEMAIL,
        ),
        ("Your call has been forwarded to an automatic voice message system", Cue.VOICEMAIL),
        ("The subscriber you have called is unavailable", Cue.VOICEMAIL),
        ("You have reached Tom and Lucy. We are not home, we will call you back", Cue.VOICEMAIL),
        ("El mailbox is full", Cue.FULL),
        ("Hola, deje su mensaje después de la señal", Cue.VOICEMAIL),
        ("Ahora no puedo atender, deje un mensaje", Cue.VOICEMAIL),
        ("Оставьте сообщение после сигнала", Cue.VOICEMAIL),
        ("Абонент временно недоступен", Cue.VOICEMAIL),
        ("For sales, press 1", Cue.MENU),
        ("Press two for support", Cue.MENU),
        ("Para español, oprima el dos", Cue.MENU),
        ("Для связи нажмите ноль", Cue.MENU),
        ("Go ahead and say your name and why you're calling", Cue.SCREENING),
        ("record your name and reason for calling", Cue.SCREENING),
        ("Before I try to connect you, state your name", Cue.SCREENING),
        ("The party you are trying to reach does not accept calls from", Cue.SCREENING),
        ("The number you have dialed is not in service", Cue.VOICEMAIL),
        ("The number you have called has been disconnected", Cue.VOICEMAIL),
        ("We are sorry, that number is no longer in service", Cue.VOICEMAIL),
        ("Sorry, this number is not valid", Cue.VOICEMAIL),
        ("The number you have reached has been disconnected", Cue.VOICEMAIL),
        ("El abonado al que llama no se encuentra disponible", Cue.VOICEMAIL),
        ("Diga su nombre y el motivo de su llamada", Cue.SCREENING),
        ("Your call cannot be completed as dialed.", Cue.VOICEMAIL),
        ("El teléfono al que llama está apagado o fuera de cobertura.", Cue.VOICEMAIL),
        ("El número que usted marcó se encuentra fuera del área de servicio.", Cue.VOICEMAIL),
        ("Lo sentimos, el número marcado no existe.", Cue.VOICEMAIL),
        ("El número al que está llamando no existe.", Cue.VOICEMAIL),
        ("El número al que usted llama no existe.", Cue.VOICEMAIL),
        ("El número que ha marcado no corresponde a ningún abonado.", Cue.VOICEMAIL),
        ("Todos nuestros agentes están ocupados.", Cue.MENU),
        ("Nuestros asesores se encuentran en este momento ocupados.", Cue.MENU),
        ("O cliente para o qual ligou tem o telemóvel desligado.", Cue.VOICEMAIL),
        ("Набранный вами номер не существует.", Cue.VOICEMAIL),
        ("Все операторы заняты, оставайтесь на линии.", Cue.MENU),
        ("Aradığınız kişiye şu anda ulaşılamıyor.", Cue.VOICEMAIL),
        ("Aradığınız kişi şu an meşgul.", Cue.VOICEMAIL),
        ("発信音の後に、お名前とご用件をお話しください。", Cue.VOICEMAIL),
        ("おかけになった電話は、電源が入っていないため、かかりません。", Cue.VOICEMAIL),
        ("おかけになった番号は、現在使われておりません。", Cue.VOICEMAIL),
        ("おかけになった電話をお呼びしましたが、お出になりません。", Cue.VOICEMAIL),
        ("お預かりできるメッセージがいっぱいです。", Cue.FULL),
        ("ご注文は1を、お問い合わせは2を押してください。", Cue.MENU),
    ],
)
def test_a_machines_phrase_is_definite(said: str, found: Cue) -> None:
    assert read_cues(said).definite is found


@pytest.mark.parametrize(
    "said",
    [
        "Hello?",
        "Hello, Anna speaking.",
        "Good morning, thank you for calling Smith and Sons, how may I help you?",
        "You've reached the Miller residence, who's calling?",
        "He is not available right now, would you like to leave a message?",
        "She is not here, can I take a message?",
        "I am not at home right now, who is this?",
        "Diga, ¿quién es?",
        "No está, ¿desea dejar un recado?",
        "Алло, слушаю вас",
        "Хотите оставить сообщение?",
        "Hold on, let me press pause",
        "Stop calling me",
        "Hi, sorry, it nearly went to my voicemail",
        "Thank you for calling, you've reached Riverside Dental, this is Kelly",
        "No, mum can't come to the phone, she is in the garden",
        "You can leave a message with me if you like",
        "Sorry, we are closed",
        "Oh, I just got your message",
        "Hi, sorry I missed your call earlier",
        "Hello? I can't take your call right now, I'm driving.",
        "Hello, I cannot answer right now, I'm in a meeting.",
        "Leave me a message on WhatsApp.",
        "Please leave a message with my wife.",
        "State your name please.",
        "Sorry, that number is not in my contacts.",
        "This number is no longer mine.",
        "That number is not in the list.",
        "I do not accept calls from unknown callers.",
        "Before I connect you, your name please.",
        "The number you dialed is wrong, this is a private home.",
        "What is the number you are calling?",
        "Ana no se encuentra disponible en este momento.",
        "Ik zit in de auto, bel later terug.",
        "Emit me your name.",
        "What is the reason for your call?",
        "What is the purpose of this call?",
        "I hear a beep.",
        "I thought you would go to voicemail.",
        "This is no answering machine.",
        "Your call was forwarded to me.",
        "I was away from my phone.",
        "I'll get back to you when I'm home.",
        "Ahora no puedo atender, estoy conduciendo.",
        "Deje un mensaje por WhatsApp.",
        "Diga su nombre.",
        "¿Cuál es el motivo de su llamada?",
        "Не могу сейчас ответить, я за рулём.",
        "Оставьте мне сообщение в телеграме.",
        "Назовите себя, пожалуйста.",
        "Назовите причину вашего звонка.",
        "Mi teléfono está apagado casi siempre, no me llame a ese.",
        "El número que usted marcó es de una casa particular.",
        "Mi marido no está, llame más tarde.",
        "La persona que busca no está.",
        "Mi móvil que es el de trabajo está apagado.",
        "Le paso con uno de nuestros asesores.",
        "En pocas palabras, no me interesa.",
        "Aradığınız kişi şu an meşgul, ben sekreteriyim.",
        "Aradığınız kişi şu anda meşgul, ben asistanıyım.",
        "おかけになった番号は違いますよ。",
        "おかけになった番号が間違っています。",
        "はい、もしもし。",
        "田中は今留守にしております。ご伝言を承りましょうか。",
        "今ちょっと電話に出られないので、後でかけ直します。",
        "番号が違うと思います。おかけ間違いじゃないですか。",
        "メッセージは聞きましたよ。",
        "少々お待ちください。",
    ],
)
def test_ordinary_phrases_are_definite_for_no_kind(said: str) -> None:
    assert read_cues(said).definite is None


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Bitte hinterlassen Sie eine Nachricht nach dem Signalton.", Cue.VOICEMAIL),
        ("Der gewünschte Gesprächspartner ist zurzeit nicht erreichbar.", Cue.VOICEMAIL),
        ("Die Mailbox ist voll.", Cue.FULL),
        ("Für den Vertrieb drücken Sie die 1.", Cue.MENU),
        ("Laissez un message après le bip.", Cue.VOICEMAIL),
        ("Votre correspondant n'est pas disponible.", Cue.VOICEMAIL),
        ("La messagerie de votre correspondant est pleine.", Cue.FULL),
        ("Pour le service commercial, tapez 1.", Cue.MENU),
        ("Lasci un messaggio dopo il segnale acustico.", Cue.VOICEMAIL),
        ("Per l'assistenza, prema uno.", Cue.MENU),
        ("Deixe a sua mensagem após o sinal.", Cue.VOICEMAIL),
        ("Para vendas, pressione um.", Cue.MENU),
        ("Spreek uw bericht in na de piep.", Cue.VOICEMAIL),
        ("Voor verkoop, toets 1.", Cue.MENU),
        ("Zostaw wiadomość po sygnale.", Cue.VOICEMAIL),
        ("Aby połączyć się ze sprzedażą, wybierz jeden.", Cue.MENU),
        ("Lütfen sinyal sesinden sonra mesajınızı bırakın.", Cue.VOICEMAIL),
        ("Satış için 1'e basın.", Cue.MENU),
    ],
)
def test_a_machines_phrase_is_definite_in_ten_languages(said: str, found: Cue) -> None:
    assert read_cues(said).definite is found


@pytest.mark.parametrize(
    "said",
    [
        "Müller, guten Tag, wie kann ich Ihnen helfen?",
        "Allô, oui, qui est à l'appareil ?",
        "Pronto, chi parla?",
        "Alô, quem fala?",
        "Met Jansen, waarmee kan ik u helpen?",
        "Słucham, kto mówi?",
        "Efendim, kim arıyor?",
        "Ich kann gerade nicht sprechen, ich rufe zurück.",
        "Je ne peux pas répondre, je conduis.",
    ],
)
def test_people_are_no_machines_in_ten_languages(said: str) -> None:
    assert not read_cues(said).recorded
    assert read_cues(said).certain is None


@pytest.mark.parametrize("said", ["Hallo?", "Allô ?", "Pronto.", "Alô?", "Halo, słucham.", "Alo?"])
def test_a_short_greeting_is_known_in_ten_languages(said: str) -> None:
    assert read_cues(said).greets


def test_a_word_of_two_languages_counts_once() -> None:
    assert read_cues("a message").points == {Cue.VOICEMAIL: WITH_ANOTHER}


def test_marks_and_accents_do_not_matter() -> None:
    assert unaccented("  No PUEDO, después… can't ") == "no puedo despues cant"


@pytest.mark.parametrize(
    "said",
    [
        "Please leave message after tone",
        "Your call forwarded to the automatic",
        "diga el nombre y motivo llamada de la llamada",
        "Leave your name now after a the tone",
        "Оставьте сообщение сигнала",
    ],
)
def test_a_machines_sentence_is_recognised_despite_a_wrong_word(said: str) -> None:
    assert read_cues(said).definite is not None


def test_one_sentence_is_definite_and_two_are_certain() -> None:
    one = read_cues("Speak after the tone")
    two = read_cues("I cannot come to the phone, so speak after the tone")

    assert (one.definite, one.certain, one.sure) == (Cue.VOICEMAIL, None, True)
    assert two.certain is Cue.VOICEMAIL


def test_two_ambiguous_phrases_are_definite_but_not_sure() -> None:
    cues = read_cues("My voicemail, you can call again later")

    assert cues.definite is Cue.VOICEMAIL
    assert not cues.sure
