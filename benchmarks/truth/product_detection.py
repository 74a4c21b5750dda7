"""Brands and disclosures: in misread texts whose truth is written beside them, in ordinary prose, in rendered captions.

The misreadings are made by rule (digits for letters, lost spaces, one wrong letter), on names that are listed here and
not taken from the lexicon. The prose was written for this table, full of words that look like names or labels; the real
speech is jfk's. The clips go through the real recogniser of text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from analyzers.product_detection import ProductDetection, ProductReport
from analyzers.speech_transcription import SpeechTranscription
from analyzers.text_overlay import TextOverlay
from benchmarks.truth import Figure, run_analyzer
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from tests.media import reports, text_clips
from tests.media.packages import package_file
from tests.media.text_clips import Caption, photo

NAME: Final = "product_detection"

NAMES: Final = (
    "Adidas", "Samsung", "Coca-Cola", "McDonald's", "Starbucks", "Netflix", "Nutella", "Haribo", "Sephora",
    "Garnier", "Toyota", "Mercedes", "Volkswagen", "Nintendo", "Red Bull", "Zalando", "Primark", "Lufthansa",
    "Spotify", "Balenciaga", "Louis Vuitton", "L'Oréal", "Maybelline", "Pringles", "Decathlon", "MediaMarkt",
    "Rossmann", "Kaufland", "HelloFresh", "Birkenstock", "New Balance", "Burger King", "PlayStation", "Porsche",
    "Dr. Oetker", "Ritter Sport", "Schwarzkopf", "Under Armour", "Calvin Klein", "Duolingo",
)  # fmt: skip
FRAMES: Final = (
    "ich liebe meine neuen Sachen von {}",
    "trying the new {} drop today",
    "{} Haul mit euch",
    "POV: {} again",
)

DISCLOSED: Final = (
    ("Anzeige", "paid"), ("Werbung", "paid"), ("ANZEIGE | mein neuer Liebling", "paid"), ("[Werbung] Tipps", "paid"),
    ("#ad", "paid"), ("so soft! #ad #skincare", "paid"), ("# ad", "paid"), ("#Anzeige", "paid"), ("#werbung", "paid"),
    ("Paid partnership with Nike", "paid"), ("paidpartnership", "paid"), ("Bezahlte Partnerschaft", "paid"),
    ("Bezah1te Partnerschaft mit dm", "paid"), ("Sponsored", "paid"), ("Sp0nsored", "paid"), ("gesponsert", "paid"),
    ("Enthält Werbung", "paid"), ("enthalt Werbung", "paid"), ("in Kooperation mit Braun", "paid"),
    ("Gifted", "gifted"), ("PR-Sample", "gifted"), ("#gifted", "gifted"), ("PR Muster", "gifted"),
    ("kostenlos zur Verfügung gestellt", "gifted"), ("Unbezahlte Werbung", "unpaid"), ("Werbung (unbezahlt)", "unpaid"),
    ("Werbung, unbeauftragt", "unpaid"), ("#unbezahltewerbung", "unpaid"), ("Affiliate-Link", "affiliate"),
    ("*Affiliate Links", "affiliate"), ("this video is sponsored by Squarespace", "paid"),
    ("dieses Video enthält bezahlte Werbung", "paid"), ("AD", "paid"), ("(Anzeige)", "paid"),
    ("not sponsored", "denied"), ("das ist keine Werbung", "denied"), ("not an ad btw", "denied"),
    ("#notsponsored", "denied"),
)  # fmt: skip
INNOCENT: Final = (
    "#adidas", "#adventure", "#add", "add this to your list", "nad", "Werbungskosten absetzen", "Werbungskosten",
    "Ich habe eine Anzeige erstattet", "die Werbung im Fernsehen nervt", "Anzeigen ohne Ende", "Anzeigetafel",
    "I saw an ad on TV", "bad", "head", "#badday", "gifted children learn fast", "she is a gifted singer",
    "sponsors wanted", "der Sponsor zahlt", "Advent", "ads everywhere", "#roadtrip", "Partnerschaft und Liebe",
    "Anzeigenhauptmeister", "Bewerbung", "umwerbung", "promo code inside", "a paid holiday", "Kooperationsvertrag",
)  # fmt: skip
PROSE: Final = (
    "On Sunday we always walk along the coast. An apple a day is fine, but oranges and a mango taste better after "
    "the climb. My uncle, the boss of a small diesel garage, found a shell on the beach and put it into the gap "
    "between two stones. A dove sat on the axe, the tide came in, and the fairy lights went on. Nobody could "
    "guess our target: the old subway station behind the penny arcade. She opened the channel, primary colours "
    "everywhere, then the garner of leaves was carried by a carrier bag. The express coach was full, so we had to "
    "converse in the mini van, and the action on the field was supreme. He was ending his essay on the planet "
    "Mars and a bounty of five guys with whole foods in their seat. Spite, tender, bubbles, stickers: the list "
    "went on. An open AI lab? An ordinary day.",
    "Am Sonntag gehen wir immer an den See. Im Januar war diese Strecke gesperrt, dieser Weg aber frei, und so "
    "haben wir über die Spritze beim Arzt gelacht. Mein Onkel tankt Diesel, meine Tante trinkt Sprit sparend "
    "ihren Saft aus Orangen. Die Frau aus Regensburg hat für die Aktion ein Kleid in Mango und Orange genäht. Der "
    "Zwilling vom Frosch saß auf der Muschel, der Anker lag im Sand, und das Tempo war gut. Das Haus hat einen "
    "Spalt, der Chef geht in die Drogerie, die Rituale am Abend bleiben. Ein Jaguar und ein Puma schlafen im Zoo. "
    "Er hat Anzeige bei der Polizei erstattet, weil die Werbung an der Wand hing und die Bewerbung verschwunden "
    "war. Ob der Lieferant kommt, ist offen; die Lehre auch.",
)
"""Nothing here is a brand or a disclosure."""


def found(*texts: str, spoken: bool = False) -> ProductReport:
    """The report on captions, each 4 s long and apart from the others, or on spoken words."""
    if spoken:
        words = [word for text in texts for word in text.split()]
        given = {"speech_transcription": reports.said([(w, 0.4 * n, 0.4 * n + 0.3) for n, w in enumerate(words)])}
    else:
        given = {"text_overlay": reports.texts([(10.0 * n, 10.0 * n + 4.0, text) for n, text in enumerate(texts)])}
    facts = VideoFacts(source="made up", sha256="", bytes=0, duration_s=10.0 * len(texts))
    return ProductDetection().summarize([], Upstream(facts, given))


def misread(name: str, how: str, chance: random.Random) -> str:
    """A name as recognition gets it wrong."""
    if how == "digits":
        swapped = name.replace("o", "0").replace("l", "1").replace("I", "1")
        return swapped if swapped != name else name.replace("i", "1").replace("s", "5")
    if how == "spaces":
        return name.replace(" ", "")
    if how == "letter":
        place = chance.randrange(1, len(name))
        while not name[place].isalpha():
            place = chance.randrange(1, len(name))
        return name[:place] + chance.choice("abcdefghiklmnoprstuvw") + name[place + 1 :]
    return {"lower": name.lower(), "upper": name.upper()}[how]


def name_share(how: str) -> float:
    """Share of the names found, each in a sentence, all misread in one way."""
    chance = random.Random(how)
    right = 0
    for number, name in enumerate(NAMES):
        text = FRAMES[number % len(FRAMES)].format(misread(name, how, chance))
        brands = [brand.name for brand in found(text).summary.brands]
        right += len(brands) == 1 and brands[0].startswith(name)
    return right / len(NAMES)


def _big(text: str, start: float, end: float, y: float) -> Caption:
    return Caption(text, start, end, y=y, size=52, outline=5)


def clips() -> list[tuple[str, Sequence[Caption], set[str], bool]]:
    """(name, captions, brands, whether it discloses) of the rendered clips."""
    return [
        ("brand_ad", [Caption("Anzeige", 0, 2.0, y=0.12, size=40, outline=3),
                      _big("Neu bei Rossmann:", 0, 2.0, 0.6),
                      _big("CeraVe für 9,95 €", 0, 2.0, 0.66)], {"Rossmann", "CeraVe"}, True),
        ("brand_tags", [_big("my Starbucks order", 0, 2.0, 0.3),
                        _big("#ad #nike @gymshark", 0, 2.0, 0.8)],
         {"Starbucks", "Nike", "Gymshark"}, True),
        ("brand_words", [Caption(word, 0.5 * n, 0.5 * n + 0.5, y=0.6, size=64, face="heavy", outline=5)
                         for n, word in enumerate(["NETFLIX", "ODER", "SPOTIFY", "HEUTE"])],
         {"Netflix", "Spotify"}, False),
        ("no_brand", [_big("Werbungskosten & Steuern", 0, 1.0, 0.3),
                      _big("add apples and oranges", 0, 1.0, 0.7),
                      _big("always on target", 1.0, 2.0, 0.5)], set(), False),
    ]  # fmt: skip


def measure() -> list[Figure]:
    """All of it."""
    settings = load_settings()
    reader, listener = TextOverlay(), SpeechTranscription()
    for analyzer in (reader, listener):
        analyzer.load("cpu", Profile(settings.profile, settings.models_dir))
    hits = wanted = extra = right = 0
    picture = photo("zidane.jpg")
    shown = clips()
    for name, captions, brands, discloses in shown:
        clip = text_clips.captioned(name, lambda share: text_clips.pan(picture, share), captions, 2.0)
        read = run_analyzer(reader, clip.path)
        report = ProductDetection().summarize([], Upstream(VideoFacts.model_validate(FACTS), {"text_overlay": read}))
        names = {brand.name for brand in report.summary.brands}
        hits, wanted, extra = hits + len(names & brands), wanted + len(brands), extra + len(names - brands)
        right += report.summary.disclosure.present == discloses
    said = run_analyzer(listener, package_file("jfk.wav"))
    jfk = ProductDetection().summarize([], Upstream(VideoFacts.model_validate(FACTS), {"speech_transcription": said}))
    kinds = []
    for text, kind in DISCLOSED:
        disclosure = found(text).summary.disclosure
        kinds.append({e.kind for e in disclosure.evidence} == {kind} and disclosure.present == (kind != "denied"))
    innocent = [found(text).summary.disclosure.evidence for text in INNOCENT]
    prose = [found(*text.split(". ")) for text in PROSE] + [found(text, spoken=True) for text in PROSE]
    claims = sum(len(r.segments) + len(r.summary.disclosure.evidence) for r in [*prose, jfk])
    spoken = found("Dieses Video wird gesponsert von Hello Fresh und ich trage dazu meine Adidas", spoken=True).summary
    heard = {brand.name for brand in spoken.brands} == {"HelloFresh", "Adidas"} and spoken.disclosure.kinds == ["paid"]
    return [
        *(
            Figure(NAME, f"40 names in captions, {what}, share found and nothing else", name_share(how), bar)
            for how, what, bar in (
                ("lower", "in small letters", 1.0),
                ("spaces", "without spaces", 0.95),
                ("digits", "with digits for letters", 0.95),
                ("letter", "with one wrong letter", 0.8),
            )
        ),
        Figure(NAME, "38 disclosures and denials in captions, share of right kind", sum(kinds) / len(kinds), 0.95),
        Figure(NAME, "texts that only look like a disclosure, taken for one", sum(map(bool, innocent)), 0, True),
        Figure(NAME, "prose in English and German, real speech: brands and disclosures claimed", claims, 0, True),
        Figure(NAME, "spoken brands and sponsor, all right", float(heard), 1.0),
        Figure(NAME, "four rendered clips, share of brands read", hits / wanted, 0.95),
        Figure(NAME, "four rendered clips, brands claimed that are not there", extra, 0, True),
        Figure(NAME, "four rendered clips, disclosure present or absent, share right", right / len(shown), 1.0),
    ]


FACTS: Final = {"source": "rendered", "sha256": "", "bytes": 0, "duration_s": 2.0}
