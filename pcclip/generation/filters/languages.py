"""What tells one language from another: its script, and the small words that every sentence of it needs."""

# ruff: noqa: RUF001 - letters of other scripts are meant
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """How a language is known.

    Args:
        scripts: The scripts it is written in, as the first word of the Unicode names of its letters.
        function_words: Its articles, pronouns, prepositions, conjunctions and auxiliaries; empty where words
            are not written apart.
        plain: It hardly uses letters beyond a to z.
    """

    scripts: tuple[str, ...]
    function_words: frozenset[str] = frozenset()
    plain: bool = False


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for word lists that are read line by line."""
    return frozenset(text.split())


def _latin(words: str, plain: bool = False) -> Language:
    return Language(("LATIN",), word_set(words), plain)


def _cyrillic(words: str) -> Language:
    return Language(("CYRILLIC",), word_set(words))


DETERMINERS = word_set("a an the")
PREPOSITIONS = word_set(
    """of in on at by for with from to into onto over under above below near behind beside between across
    through around along against toward towards within without during about among upon off next unlike"""
)
CONJUNCTIONS = word_set("and or but while whereas than because although if nor so as though since")
AUXILIARIES = word_set(
    """is are was were be been being am has have had having do does did can could will would may might must
    should shall isn't aren't wasn't weren't doesn't don't didn't can't couldn't hasn't haven't won't"""
)
PRONOUNS = word_set(
    """i you he she it we they me him us them his her hers its our ours their theirs my your yours who whom
    whose which what that this these those there here itself himself herself themselves it's there's
    that's they're he's she's"""
)
OTHERS = word_set(
    """not no only also just very too then when where how why still now instead rather however any some
    each every either neither another other others both all many much several few fewer more most less
    least same such one ones two three four five six seven eight nine ten first second third up down out
    away after before until once again even ever never yet already together almost quite"""
)
ENGLISH = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | AUXILIARIES | PRONOUNS | OTHERS

# Words that are English ones too ("die", "war", "van", "con") are left out: they tell nothing.
LANGUAGES: dict[str, Language] = {
    "en": Language(("LATIN",), ENGLISH, plain=True),
    "de": _latin(
        """der das und ist ein eine einen einem einer eines nicht mit auf dem zu im von für sich den des auch
        als bei nach wie aus wird sind hat haben zwei drei aber oder nur noch zum zur während dass es ich
        sie er wir ihr vor über unter durch gegen ohne bild foto ersten zweiten erste zweite sowie dagegen
        hingegen"""
    ),
    "fr": _latin(
        """le la les un une des du et est dans pour pas qui que sur avec ce cette ces sont au aux il elle ils
        elles ne plus mais ou où leur leurs son sa ses deux trois tandis alors comme par première seconde
        deuxième premier été sans entre très aussi être avoir ont montre photo l'image d'un d'une n'y
        qu'un"""
    ),
    "es": _latin(
        """el la los las un una unos unas de del y es en que por con para se su sus al como más pero no está
        están hay lo muy dos tres mientras segunda primera segundo primero imagen foto sobre entre sin
        también desde cuando este esta estos estas hombre mujer muestra otro otra"""
    ),
    "it": _latin(
        """il lo la gli le un uno una di del della dei delle degli che è e nel nella nelle con per su sul
        sulla sono da dal dalla si ci non più anche ma come due tre mentre prima seconda primo secondo
        immagine ed al alla questo questa molto mostra invece uomo donna sta fuori altro altra"""
    ),
    "pt": _latin(
        """o os as um uma uns umas de do da dos das em no na nos nas e é que para com por se não mais mas
        como ao à sobre dois duas três enquanto segunda primeira segundo primeiro imagem foto homem mulher
        está estão também muito mostra já pela pelo sua seu suas seus há outro outra"""
    ),
    "nl": _latin(
        """de het een en van is op te dat die niet met voor zijn aan er om ook als bij naar uit maar nog
        wordt heeft hebben twee drie terwijl tweede eerste foto afbeelding over door geen dan deze dit wel
        zien toont staat zitten haar hun zich"""
    ),
    "sv": _latin(
        """och att det som en ett är på av för med den till inte har de om han hon men sig så var från där
        medan första andra bilden visar två tre mot vid under över bara finns eller än också mycket någon
        några"""
    ),
    "da": _latin(
        """og at det som en et er på af for med den til ikke har de om han hun men sig så var fra hvor mens
        første andet andre billede viser to tre mod ved under over kun der eller end også meget nogle
        bildet"""
    ),
    "pl": _latin(
        """i w na z nie się że to jest do a o od po za jak ale dla przez przy są oraz tylko dwa trzy dwie
        dwóch pierwszym drugim pierwszy drugi pierwsze drugie zdjęciu obrazie natomiast podczas gdy który
        która które widać obok pod nad ze"""
    ),
    "cs": _latin(
        """a v na se je že s z do o k i ale jako pro jsou za po od při který která které jen dva tři dvě
        zatímco prvním druhém první druhý obrázku fotce vedle pod nad jeden jedna si tak u ve ze není"""
    ),
    "hu": _latin(
        """a az és egy nem is hogy van ez de meg csak két három első második képen kép míg pedig vagy mint
        még már aki ami amely ezen egyik másik több nagy áll ül mutat közben viszont alatt felett mellett"""
    ),
    "ro": _latin(
        """și în de la cu pe un o nu este sunt care din că mai se al a ai ale pentru dar iar două doi trei
        prima primul imagine imaginea arată este timp ce ca prin lângă sau doar lui ei foarte un alta altă"""
    ),
    "tr": _latin(
        """ve bir bu da de için ile çok ama daha olarak var ise iki üç ilk ikinci birinci resimde resim
        fotoğraf değil olan gibi üzerinde yanında içinde gösteriyor sadece kadar sonra iken görüntü
        görüntüde adam kadın"""
    ),
    "fi": _latin(
        """ja on ei se että kuin mutta ovat oli joka jossa sekä myös vain kaksi kolme ensimmäisessä toisessa
        kuvassa kuva taas kun niin hän ne tämä yksi ensimmäinen toinen kanssa vieressä päällä"""
    ),
    "id": _latin(
        """yang dan di ini itu dengan untuk dari pada tidak ke dalam adalah seorang seekor sebuah dua tiga
        pertama kedua gambar sedangkan sementara orang ada atau akan juga lebih menunjukkan memakai sedang
        besar atas foto"""
    ),
    "vi": _latin(
        """và là của một có không người trong cho các với đang được này đó hai ba nhiều hình ảnh thứ nhất đầu
        tiên khi còn trên bên cạnh màu những để ra vào thấy ông"""
    ),
    "ru": _cyrillic(
        """и в на не с что а по как это но из у за от для же к то он она они две два три первой второй первом
        втором картинке изображении фото один одна только рядом под над где который которая"""
    ),
    "uk": _cyrillic(
        """і в на не з що а по як це але із у за від для же до то він вона вони дві два три першому другому
        знімку зображенні фото один одна тільки поруч під над де який яка й та"""
    ),
    "el": Language(("GREEK",)),
    "he": Language(("HEBREW",)),
    "ar": Language(("ARABIC",)),
    "fa": Language(("ARABIC",)),
    "hi": Language(("DEVANAGARI",)),
    "th": Language(("THAI",)),
    "ko": Language(("HANGUL",)),
    "zh": Language(("CJK",)),
    "ja": Language(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")),
}
