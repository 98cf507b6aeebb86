"""Patterns of requests for no further calls, by language, for `opt_out_rules`.

The languages are those of the fallback texts (English, Spanish, Russian), German and French.
Patterns match words in lower case without punctuation, apostrophes and accents.
"""
# ruff: noqa: RUF001 - Russian has letters that look like Latin ones

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Language:
    """Patterns of a language.

    Attributes:
        calls: A request for no more calls; with a time limit it is not an opt-out.
        lists: A request to be taken off a list, or put on the do-not-call list.
        limits: A time or a condition.
        asks: The beginning of a question.
        begs: The beginning of a request in the form of a question.
        denies: Words that negate the request that follows.
        others: Words that show that the request is not the person's own.
        back: A request to be called after all.
    """

    calls: str
    lists: str
    limits: str
    asks: str
    begs: str
    denies: str
    others: str
    back: str


_EN_ME: Final = (
    r"(me|us|here|this (number|phone|line|house)|(my|our) (number|phone|house|home|cell|mobile"
    r"|family))"
)
_EN_NO: Final = r"(dont|do not|never|dont you)( (you|ever|even))*( dare)?"
_EN_CALL: Final = r"(call|phone|ring|dial|telephone|contact|bother|harass|cold call)"
_EN_CALLING: Final = (
    r"(calling|phoning|ringing|dialing|dialling|contacting|bothering|harassing|cold calling)"
)
_EN_END: Final = (  # "don't call me Bob" is another request
    r"(?= (again|any|anymore|ever|at|on|about|for|from|with|and|or|so|because|i|im|you|we|this|it"
    r"|please|okay"
    r"|ok|thanks|thank|under|regarding|before|after|until|till|unless|today|tomorrow"
    r"|tonight|when|while|if)\b|$)"
)
_EN_MORE: Final = r"(again|anymore|any more|any longer|ever again)"
_EN_LIST: Final = (
    r"((?!wait|guest|order|book|shopp|reserv)(\w+ )?(lists?|systems?|databases?|records?|files?"
    r"|books?|directory|register|registry"
    r"|dialer|dialler"
    r"|campaigns?|phonebook|address book|crm|rolodex)|calls?)\b(?! (speaker|hold))"
)
_EN_MINE: Final = (
    r"(me|us|((my|our|this)( (phone|telephone|cell|mobile|home|house))? (number|numbers|name"
    r"|phone|line"
    r"|details|data|info|information|contact|contacts)))"
)
_ENGLISH: Final = Language(
    calls="|".join(
        (
            rf"{_EN_NO} {_EN_CALL} {_EN_ME}{_EN_END}",
            rf"{_EN_NO} {_EN_CALL} {_EN_MORE}\b",
            r"(stop|quit|cease)( all)?( (your|these|those|this"
            rf"|the))? (phone )?{_EN_CALLING} {_EN_ME}\b",
            rf"(stop|quit|cease) {_EN_CALLING}( (please|now|okay|ok|already|again|thanks|thank you"
            r"|all the time|and \w+))*$",
            r"(stop|quit|cease)( all)? (these|those|your|the) (phone )?calls\b",
            r"(dont|do not|no longer) (want|wish|need|like|care)( to (get|receive|have|take))?"
            r"( (any|more|these|those|your|further|such|other))+( (phone|sales"
            r"|marketing))? calls?\b",
            r"(dont|do not|no longer) (want|wish|like)( (you|anyone|anybody|you people"
            r"|your company))?"
            r" (to )?(ever )?(be (called|contacted|phoned)|receive calls|get calls"
            rf"|({_EN_CALL}|{_EN_CALLING})( {_EN_ME})?){_EN_END}",
            r"(prefer|rather) not (to )?(be called|be contacted|get calls|receive calls)\b",
            r"(dont|do not|never)( ever)? want to (hear from|talk to|speak to) you (people )?"
            r"(again|anymore|any more|ever)",
            r"(i|we)( have| already|ve)* (told|asked) (you|you people|you guys|your company)"
            rf"( (people|before|already))* (not to {_EN_CALL}|(to )?stop {_EN_CALLING}) ({_EN_ME}"
            rf"|{_EN_MORE})\b",
            r"(can|could|will|would) (you|we)( (please|just|all))* (not"
            rf"|never)( ever)? {_EN_CALL} ({_EN_ME}|{_EN_MORE})\b",
            r"no more (phone |sales )?calls( (please|from you|from your \w+|to (me|us|this number)"
            r"|thanks|thank you|okay|ok))*$",
            r"(want|need|would like|d like|id like) (you|you people) to (stop"
            rf"|quit) {_EN_CALLING}( {_EN_ME})?\b",
        )
    ),
    lists="|".join(
        (
            rf"(take|remove|delete|get|strike|cross|scratch|drop|erase|pull|wipe|clear) {_EN_MINE}"
            r"( (completely|right now|please|immediately|permanently|now))*"
            r" (off|from|out of|off of)( of)?( (all|the|this|that|your|any|every|of|these"
            rf"|those))* {_EN_LIST}",
            r"(lose|delete|forget|erase|block|remove) (my|our|this)( (phone|telephone|cell"
            r"|mobile))? number\b"
            r"(?! (from|off) (the |your )?(speaker|order|form|screen|ticket|account))",
            rf"(put|place|add|get|register) {_EN_MINE} (down )?(on|to|onto|in|into)"
            r"( (your|the|a|that|this|internal))* (do not|dont|no) call(s)?( (list|register"
            r"|registry))?\b",
            r"(take|get) (me|us) out of( (your|the|this))*( \w+)? (calling|phone|call|dialing) \w+",
            r"unsubscribe (me|us|this number|my number)\b",
            r"opt (me|us|my number|this number) out\b",
            r"(want|like|wish) to (opt out|unsubscribe|be (taken off|removed from)"
            r"( (the|your|this|all))* \w*( ?list| ?lists))\b",
        )
    ),
    limits=(
        r"(before|after|until|till|til|unless|today|tonight|tomorrow|right now|just now"
        r"|at the moment|yet|later|during|while|when"
        r"|if|between|next|within|early|late|noon|midnight|lunch|lunchtime|dinner"
        r"|(mon|tues|wednes|thurs|fri|satur|sun)days?|weekends?|weekdays?|mornings?|afternoons?"
        r"|evenings?"
        r"|nights?|oclock|\d+ ?[ap]m|\d+ [ap] m|this (week|month|year|time|hour|minute|second)"
        r"|for (a|an|the next|some|another) \w+|for \w+ (days|weeks|months|hours|minutes)"
        r"|(at|from|past) (\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
        r"|at (work|home|school|the office|my (office|work|desk|job)|this (hour|time))|so (often"
        r"|much|loud)"
        r"|(on|at) (that|another|the other) \w+|on (my|holidays?|vacation)|in the (\w+ )?(meeting"
        r"|middle)|by (my )?(first )?name)"
    ),
    asks=(
        r"(why|what|whats|when|how|who|whos|which|where|did|do (you|i|we|they)|does|is (it|this"
        r"|that|there"
        r"|my)|are you|am i|was|were|have (you|i|we)|havent|has|should|shall|would (it|that|i|we)"
        r"|if|arent"
        r"|didnt|dont you|isnt)\b"
    ),
    begs=(
        r"(can|could|will|would|may|might) (you|i|we)\b|is it possible|would you mind"
        r"|is there a way"
    ),
    denies=(
        r"\b(dont|do not|not|never|didnt|did not|wont|wouldnt|shouldnt|cant|cannot|doesnt|isnt"
        r"|without"
        r"|no need|instead of|rather than|no reason|unless)\b"
    ),
    others=(
        r"\b(he|she|they|theyre|nobody|noone|no one|people (say|said|tell|always)|somebody|someone"
        r"|everybody|everyone|anyone|who|says|say|(?<!\bi )said|saying|tells?|told (him|her|them"
        r"|my|our|the)|wife|husband|mother|father|mom|mum|dad"
        r"|son|daughter|brother|sister|boss|friend|neighbou?r|customers?|clients?|company called"
        r"|recording"
        r"|him|her|them|policy|example|if)\b"
    ),
    back=(
        r"(you (can|may)|please|do|just)( (still|do|please))* call me( (again|anyway|though"
        r"|after all))?$"
        r"|(keep|leave|put|have) me (back )?on (the|your)( \w+)? list"
        r"|(dont|do not) (take|remove|delete) me (off|from)|keep (calling|my number)"
        r"|(take|get|remove) (me|my number|that) (off|from)( (the|that|your))* (do not|dont"
        r"|no) call"
        r"|(didnt|did not|dont|do not) (mean|want|say|ask for) (that|it|this)\b|changed my mind"
        r"|take (that|it) back"
    ),
)

_DE_ME: Final = (
    r"(mich|uns|bei mir|bei uns|hier|diese nummer|unter dieser nummer|auf dieser nummer)"
)
_DE_NEVER: Final = (
    r"((nie|niemals|nicht|nimmer)( (wieder|mehr|noch einmal|nochmal|erneut|nochmals))*"
    r"|bloss nicht( mehr)?)"
)
_DE_FILL: Final = r"( (bitte|doch|einfach|ja|endlich|jetzt|sofort|also))*"
_DE_MINE: Final = (
    r"(mich|uns|(meine|unsere|diese|die) (telefonnummer|nummer|handynummer|rufnummer|daten"
    r"|kontaktdaten"
    r"|adresse)|meinen namen)"
)
_DE_LIST: Final = (
    r"(?!nicht|kein|nie)\w*(liste|listen|kartei|datei|verteiler|datenbank|system|register"
    r"|verzeichnis"
    r"|adressbuch|unterlagen|speicher|kundendaten)"
)
_GERMAN: Final = Language(
    calls="|".join(
        (
            rf"(ruf|rufe|rufen|ruft)( sie)?{_DE_FILL}( {_DE_ME})?{_DE_FILL} {_DE_NEVER}{_DE_FILL}"
            rf"( {_DE_ME})? an\b",
            r"(kontaktier|kontaktieren|belastig|belastigen|stor|storen"
            rf"|belastigt)e?( sie)?{_DE_FILL} (mich|uns)"
            rf"{_DE_FILL} {_DE_NEVER}\b",
            rf"(hor|hore|horen|hort)( sie)?{_DE_FILL} auf{_DE_FILL} ((mich|uns|hier|bei mir"
            r"|bei uns) )?"
            r"((immer|standig|dauernd) )?(anzurufen|zu belastigen|zu storen)",
            r"(will|mochte|wunsche|mochten|wollen|wunschen)( (von ihnen|auch|bitte|wirklich"
            r"|uberhaupt"
            r"|in zukunft|kunftig))* (keine|keinen)( (weiteren|weitere|werbe"
            r"|solchen))* ?\w*anrufe?\b",
            r"(will|mochte|mochten|wollen)( (von ihnen|bitte|wirklich|in zukunft"
            r"|hier))* (nicht mehr|nie mehr"
            r"|nie wieder|nicht weiter|nicht)( von ihnen)? (angerufen|kontaktiert"
            r"|belastigt) werden",
            r"(will|mochte|mochten|wollen) (nicht|nie)( (mehr|wieder))* dass (sie|ihre firma"
            r"|ihr) (mich|uns|hier)"
            r"( (wieder|noch einmal|noch mal|nochmal|weiter|nochmals))? (anruft|anrufen"
            r"|kontaktieren)",
            r"(bitte )?keine (weiteren )?anrufe mehr",
            r"unterlassen sie( bitte)? (diese|ihre|die|weitere|kunftige) \w*anrufe",
        )
    ),
    lists="|".join(
        (
            r"(streich|streichen|losch|loschen|nehmen|nimm|entfernen|entfern|tragen"
            rf"|werfen)e?( sie)?{_DE_FILL} {_DE_MINE}"
            rf"{_DE_FILL}( (aus|von|in))( (ihrer|ihrem|ihren|der|dem|den|allen|dieser"
            rf"|eurer))* {_DE_LIST}\b",
            r"(losch|loschen|vergessen|vergiss|streichen|entfernen|sperren"
            rf"|blockieren)e?( sie)?{_DE_FILL}"
            r" (meine|unsere|diese) (telefonnummer|nummer|handynummer|rufnummer)\b",
            rf"(konnen|konnten|wurden|wollen) sie{_DE_FILL} {_DE_MINE}{_DE_FILL}( (aus"
            r"|von)( (ihrer|ihrem|der|dem|allen"
            rf"|ihren))* {_DE_LIST})? (streichen|loschen|nehmen|entfernen|austragen)",
            rf"(setzen|nehmen|tragen|schreiben)( sie)?{_DE_FILL} {_DE_MINE}{_DE_FILL} (auf"
            r"|in) (die|ihre|eine) \w*"
            r"(sperrliste|robinsonliste|nicht anrufen liste)",
        )
    ),
    limits=(
        r"(vor|nach|bis|heute|morgen|gerade|spater|abends|morgens|mittags|nachts|vormittags"
        r"|nachmittags|sonntags?|samstags?|am \w+tag|am (wochenende|abend|morgen)|wahrend|wenn"
        r"|falls|bevor|um \w+ uhr"
        r"|(diese|nachste) (woche|monat)|so (fruh|spat|oft)|in der (arbeit|nacht)|auf der arbeit"
        r"|weil|sondern|zuruck)"
    ),
    asks=(
        r"(warum|wieso|weshalb|wann|wer|was|wie|wo|haben sie|hat|sind|ist|soll|sollen|darf|muss"
        r"|werden sie|rufen sie mich (morgen|heute|spater))\b"
    ),
    begs=r"(konnen|konnten|wurden|wollen) sie|darf ich sie bitten",
    denies=r"\b(nicht|nie|niemals|kein|keine|statt|ohne)\b",
    others=(
        r"\b(er|niemand|keiner|jemand|man|leute|sagt|sagte|gesagt|hat|haben|frau|mutter|mein mann"
        r"|vater|chef|kunden|ihm"
        r"|ihnen gesagt|wer)\b"
    ),
    back=(
        r"(sie )?(durfen|konnen) (mich )?(gern |gerne |doch |weiter |ruhig "
        r"|wieder )*(mich )?(doch |weiter |wieder )*anrufen"
        r"|rufen sie( mich)?( (doch|ruhig|gern|gerne|wieder|bitte))+ an"
        r"|lassen sie mich auf der liste"
        r"|(das )?(habe ich|hab ich) nicht (so )?gemeint|das war nicht so gemeint"
        r"|das wollte ich nicht|doch wieder anrufen"
    ),
)

_FR_MORE: Final = r"(plus( jamais)?|jamais( plus)?)"
_FR_CALL: Final = r"(appel(ez|le|les)|rappel(ez|le|les)|telephonez?|contactez?|derangez?|harcelez)"
_FR_MINE: Final = (
    r"(moi|nous|(mon|notre|ce) (numero|nom|telephone)( de telephone)?|mes (donnees|coordonnees))"
)
_FR_LIST: Final = (
    r"(listes?|fichiers?|bases?|systemes?|repertoires?|registres?|dossiers?|carnet|annuaires?)"
)
_FRENCH: Final = Language(
    calls="|".join(
        (
            rf"ne (m|me |nous ){_FR_CALL}( (surtout|donc|sil vous plait))*"
            rf" ({_FR_MORE}\b|pas(?= (sil|svp|merci|avant|apres|le|la|au|a|ce|cette|quand|si)\b"
            r"|$))",
            rf"nappel(ez|le|les)( ici| ce numero)? {_FR_MORE}\b",
            rf"ne {_FR_MORE} (m|me |nous )(r?appeler|telephoner|(re)?contacter|deranger|harceler)",
            r"(arretez|cessez|arrete|cesse)( (donc|immediatement|tout de suite))* de (m|me |nous )?"
            r"(appeler|telephoner|contacter|deranger|harceler)",
            r"(arretez|cessez) (ces|vos|les) appels",
            r"(je|nous|on) (ne )?(veux|veut|voulons|souhaite|souhaitons|desire)( (plus"
            r"|pas))( (jamais|du tout))*"
            r"( (etre|recevoir|avoir))? ?(dappels?|vos appels|dautres appels|appelee?s?"
            r"|contactee?s?|derangee?s?)",
            r"(je|nous) (ne )?(veux|voulons|souhaite|souhaitons) (plus|pas) que vous (m|me |nous )"
            r"(appeliez|rappeliez|contactiez|telephoniez)",
            r"plus dappels( sil vous plait| de votre part)*$",
        )
    ),
    lists="|".join(
        (
            r"(retirez|enlevez|supprimez|effacez|rayez|otez|sortez|retire|enleve|supprime|efface)"
            rf"( moi| nous)?( sil vous plait)?( {_FR_MINE})?( sil vous plait)?"
            rf" (de|du|des|dans)( (votre|vos|la|le|cette|toutes|ces))*( base)? {_FR_LIST}",
            r"((pouvez|pourriez) vous|merci de|veuillez)( (me|nous))?( sil vous plait)?"
            rf" (retirer|enlever|supprimer|effacer|rayer)( {_FR_MINE})?"
            rf" (de|du|des)( (votre|vos|la|le|toutes))* {_FR_LIST}",
            r"(supprimez|effacez|oubliez|bloquez) (mon|notre|ce) numero",
            r"(mettez|inscrivez) (moi|nous|mon numero) (sur|dans) (la |votre )?(liste (rouge"
            r"|noire|dopposition)|bloctel)",
        )
    ),
    limits=(
        r"(avant|apres|jusqua?|aujourdhui|demain|maintenant|ce (soir|matin|midi|week end)"
        r"|le (matin|soir|midi|week end"
        r"|dimanche|samedi|lundi|mardi|mercredi|jeudi|vendredi)|pendant|quand|lorsque|si"
        r"|cette (semaine|nuit)|si (tot|tard)"
        r"|tout de suite|a \w+ heures?|au (travail|bureau)|la nuit|plus tard)"
    ),
    asks=(
        r"(pourquoi|quand|comment|qui|que|quest ce|est ce que|quel|quelle|ou|avez vous|etes vous"
        r"|allez vous|dois je)\b"
    ),
    begs=(
        r"(pouvez|pourriez|voulez|voudriez) vous|est ce que vous (pouvez|pourriez)|est il possible"
    ),
    denies=r"\b(pas|jamais|sans|au lieu)\b",
    others=(
        r"\b(il|elle|ils|elles|on me|personne|quelquun|gens|dit|dis|disent|dire|ma (femme|mere)"
        r"|mon (mari|pere|patron)|clients?"
        r"|lui|leur)\b"
    ),
    back=(
        r"vous pouvez( (encore|toujours|quand meme|bien))* (me |m)r?appeler"
        r"|r?appelez moi( (quand meme|encore|bien))+"
        r"|laissez moi (sur|dans)|ce nest pas ce que (je voulais|jai dit)|jai change davis"
    ),
)

_ES_MINE: Final = r"(mi|este|nuestro)( (numero|telefono|nombre|celular|movil)| numero de telefono)"
_ES_LIST: Final = r"(listas?|base|bases|sistemas?|registros?|archivos?|agenda|directorio|fichero)"
_ES_PLEASE: Final = r"( (por favor|ya|ahora mismo|inmediatamente))*"
_SPANISH: Final = Language(
    calls="|".join(
        (
            r"\bno (me |nos )?(vuelva|vuelvan|vuelvas) a (llamar|molestar|contactar|marcar"
            r"|telefonear)(me|nos)?",
            r"\bno (me|nos) (llame|llamen|llames|moleste|molesten|contacte|contacten|marque"
            r"|marquen)"
            r"( (mas|nunca mas|otra vez|de nuevo|por favor|jamas|nunca))*"
            r"(?= (por|gracias|porque|y|e|que|a|al|en|antes|despues|hasta|hoy|ahora|cuando|mientras"
            r"|manana|si|estoy|yo|no|el|los|esta|tan)\b|$)",
            r"\b(nunca|jamas) (mas )?(me|nos) (llame|llamen|llames|vuelva|vuelvan"
            r"|contacten?)( a llamar)?",
            r"\b(deje|dejen|deja|pare|paren) de (llamar|molestar|contactar|marcar|acosar)(me|nos)?",
            r"\bno (quiero|queremos|deseo|deseamos)( (que|recibir|mas|sus|estas|otras|ninguna))*"
            r" (me llamen|me llame|nos llamen|llamadas|ser contactad[oa]|me contacten)",
            r"\bno (quiero|deseo) que (me|nos) (vuelva|vuelvan) a (llamar|contactar|molestar)",
            r"\bno mas llamadas",
        )
    ),
    lists="|".join(
        (
            r"\b(quite|quiten|borre|borren|elimine|eliminen|saque|saquen|retire|retiren)(me"
            rf"|nos)?{_ES_PLEASE}"
            rf"( {_ES_MINE})?{_ES_PLEASE} (de|del)( (su|sus|la|las|esta|todas|el))* {_ES_LIST}",
            r"\b(borre|borren|elimine|eliminen|quite|quiten|olvide|olviden|bloquee"
            rf"|bloqueen) {_ES_MINE}",
            r"\b(puede|pueden|podria|podrian) (quitar|borrar|eliminar|sacar|retirar)(me"
            rf"|nos)?( {_ES_MINE})?{_ES_PLEASE}"
            rf" (de|del)( (su|sus|la|las|esta|todas|el))* {_ES_LIST}",
            r"\b(ponga|pongan|apunte|anoten|anote|inscriba)(me|nos)? en (la|su) lista (robinson"
            r"|de no llamar|de exclusion)",
        )
    ),
    limits=(
        r"(despues|antes|manana|hoy|ahora|luego|mas tarde|a las?|hasta|por la (manana|tarde"
        r"|noche)|los (lunes|martes"
        r"|miercoles|jueves|viernes|sabados?|domingos?)|el (lunes|martes|miercoles|jueves|viernes"
        r"|sabado|domingo"
        r"|fin de semana)|cuando|mientras|durante|si|esta (semana|noche|tarde)|tan (tarde"
        r"|temprano|pronto)|al \w+|a (casa|mi \w+)"
        r"|en el trabajo|entre|todavia|aun)"
    ),
    asks=(
        r"(por que|cuando|como|quien|que|cual|donde|me (llamo|llamaron)|ha|han|es|esta|debo"
        r"|tengo que)\b"
    ),
    begs=r"(puede|pueden|podria|podrian|me (puede|podria|pueden))\b|es posible",
    denies=r"\b(no|nunca|jamas|sin|en vez)\b",
    others=(
        r"\b(el|ella|ellos|ellas|nadie|alguien|gente|dice|dijo|dicen|digo que|mi (esposa|esposo"
        r"|mujer|marido|madre|padre"
        r"|jefe)|clientes?|les|le)\b"
    ),
    back=(
        r"(pueden?|puedes)( (seguir|volver a))? llamarme|llameme( (otra vez|de nuevo|igual"
        r"|igualmente))+|dejeme en la lista"
        r"|no quise decir eso|eso no es lo que (dije|queria)|cambie de (opinion|idea)"
        r"|sigan? llamando"
    ),
)

_RU_MORE: Final = r"(больше|никогда|впредь|вообще)"
_RU_MINE: Final = (
    r"(меня|нас|(мои|наш|этот)( телефонныи)? (номер|телефон)( телефона)?|мои (данные|контакты))"
)
_RU_LIST: Final = r"(списк\w*|баз\w*|систем\w*|реестр\w*|справочник\w*|рассыл\w*|картотек\w*)"
_RUSSIAN: Final = Language(
    calls="|".join(
        (
            rf"\bне звони(те)?( (мне|нам|сюда|на этот номер|{_RU_MORE}|пожалуиста"
            r"|по этому номеру))*\b",
            rf"\bне (надо|нужно|стоит)( (мне|нам|сюда|{_RU_MORE}))* (звонить|названивать"
            r"|беспокоить)",
            r"\b(перестаньте|прекратите|хватит|перестань|прекращаите)( (мне|нам|сюда|уже"
            r"|пожалуиста))* (звонить|названивать"
            r"|беспокоить)",
            r"\b(прекратите|хватит) (эти |ваших |ваши )?звонк\w+",
            rf"\bне (хочу|желаю|хотим)( ({_RU_MORE}|ваших|никаких|получать|этих|чтобы вы мне"
            r"|чтобы мне|чтобы вы))*"
            r" (звонк\w+|звонил\w*)",
            rf"\bне беспокоите( (меня|нас|{_RU_MORE}|пожалуиста))+",
        )
    ),
    lists="|".join(
        (
            r"\b(удалите|уберите|вычеркните|исключите|сотрите"
            rf"|выпишите)( пожалуиста)? {_RU_MINE}( пожалуиста)?"
            r" (из|с|со)( (вашеи|вашего|ваших|всех|своего|своеи|этого|этои"
            rf"|вашем))*( \w+)? {_RU_LIST}",
            r"\b(удалите|уберите|сотрите|вычеркните|забудьте|заблокируите)( пожалуиста)? (мои|наш"
            r"|этот)"
            r"( телефонныи)? (номер|телефон)",
            r"\b(не )?(могли бы вы|можете|можно)( \w+)? (удалить|убрать|вычеркнуть"
            rf"|исключить) {_RU_MINE}"
            rf" (из|с)( (вашеи|вашего|ваших|всех))* {_RU_LIST}",
            rf"\b(внесите|занесите|добавьте) {_RU_MINE} в (ваш )?(черныи|стоп) ?список",
        )
    ),
    limits=(
        r"(после|до|завтра|сегодня|сеичас|утром|вечером|днем|ночью|раньше|позже|пока|если|когда"
        r"|по (утрам|вечерам|ночам"
        r"|выходным|понедельникам|воскресеньям|субботам)|в (понедельник|вторник|среду|четверг"
        r"|пятницу|субботу|воскресенье"
        r"|выходные|обед|рабочее)|на (этои|следующеи) неделе|на (работу|мобильныи|сотовыи"
        r"|домашнии)|так (часто|поздно|рано)"
        r"|во время|перед)"
    ),
    asks=r"(почему|зачем|когда|как|кто|что|где|откуда|вы|разве|неужели|нужно ли|это)\b",
    begs=r"(не )?(могли бы вы|можете|можно|вы можете|вы не могли бы)\b",
    denies=r"\b(не|без|вместо)\b",
    others=(
        r"\b(он|она|они|никто|кто то|люди|сказал\w*|говорит|говорят|жена|муж|мама|папа|начальник"
        r"|клиент\w*|ему|еи|им"
        r"|просил\w*)\b"
    ),
    back=(
        r"\b(можете|можно)( (все таки|все же|дальше|и дальше|мне|еще))* звонить"
        r"|звоните( (все таки|дальше|еще))+"
        r"|оставьте меня в списке|я (не это|не то) (имел|имела) в виду|я передумал\w*"
        r"|я этого не (говорил|хотел)\w*"
    ),
)

LANGUAGES: Final = {
    "en": _ENGLISH, "es": _SPANISH, "ru": _RUSSIAN, "de": _GERMAN, "fr": _FRENCH,
}  # fmt: skip
