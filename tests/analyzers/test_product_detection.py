"""Goods, brands and disclosures from made reports: what counts, what only looks like it, and the evidence of each."""

from __future__ import annotations

import pickle

import pytest

from analyzers.methods import brands, disclosure
from analyzers.methods.lexicon import DIGITS, EXACT, NEAR, Lexicon, distance, tokens
from analyzers.product_detection import ProductDetection, ProductReport
from pipeline.errors import NotApplicable
from pipeline.results import Upstream, VideoFacts
from tests.media import reports

LARGE, SMALL = (0.3, 0.2, 0.7, 0.9), (0.50, 0.50, 0.54, 0.56)


def drawn(**given: reports.AnyReport) -> ProductReport:
    facts = VideoFacts(source="", sha256="", bytes=0, duration_s=10)
    return ProductDetection().summarize([], Upstream(facts, given))


def written(*texts: str, kind: str = "overlay") -> ProductReport:
    given = [(20.0 * n, 20.0 * n + 3.0, text) for n, text in enumerate(texts)]
    return drawn(text_overlay=reports.texts(given, kind))


def spoken(sentence: str) -> ProductReport:
    words = [(word, 0.4 * n, 0.4 * n + 0.3) for n, word in enumerate(sentence.split())]
    return drawn(speech_transcription=reports.said(words))


def names(report: ProductReport) -> list[str]:
    return [brand.name for brand in report.summary.brands]


# --- goods ------------------------------------------------------------------------------------------------------------


def seen(label: str, box: tuple[float, float, float, float], steps: int = 4) -> ProductReport:
    return drawn(object_detection=reports.objects([(0.25 * n, 0.25 * n + 0.25, label, box) for n in range(steps)]))


def test_a_thing_that_is_sold_is_a_product_with_its_evidence() -> None:
    (segment,) = seen("cell phone", (0.4, 0.4, 0.6, 0.7)).segments
    assert (segment.product, segment.brand, segment.start, segment.end) == ("cell phone", None, 0.0, 1.0)
    assert [(e.analyzer, e.start, e.end) for e in segment.evidence] == [("object_detection", 0.0, 1.0)]
    assert segment.score == pytest.approx(0.9)


@pytest.mark.parametrize("label", ["person", "dining table", "bus", "dog", "traffic light", "airplane"])
def test_people_animals_and_scenery_are_no_products(label: str) -> None:
    assert seen(label, LARGE).segments == []


def test_scenery_in_the_distance_and_a_glimpse_are_no_products() -> None:
    assert seen("cell phone", SMALL).segments == []
    assert seen("car", (0.4, 0.4, 0.6, 0.6)).segments == []
    assert [s.product for s in seen("car", LARGE).segments] == ["car"]
    assert seen("bottle", LARGE, steps=1).segments == []


# --- brands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        ("Adidas", "Adidas"), ("my AD1DAS shoes", "Adidas"), ("Addidas", "Adidas"), ("#adidas", "Adidas"),
        ("@nike.de", "Nike"), ("neu von mitAdidas", "Adidas"), ("CocaCola", "Coca-Cola"),
        ("CeraVe", "CeraVe"), ("coca cola", "Coca-Cola"),
        ("H&M Haul", "H&M"), ("Loreal Paris", "L'Oréal"), ("L’Oréal", "L'Oréal"), ("McDonalds", "McDonald's"),
        ("Nike's best", "Nike"), ("Ritter-Sport", "Ritter Sport"), ("Dr.Oetker", "Dr. Oetker"),
    ],
)  # fmt: skip
def test_spellings_and_misreadings_are_found(text: str, brand: str) -> None:
    assert names(written(text)) == [brand]


def test_two_wrong_letters_are_too_many_for_a_short_name() -> None:
    assert names(written("Samsnug")) == []
    assert names(written("Birkentsock")) == ["Birkenstock"]


@pytest.mark.parametrize(
    "text",
    [
        "nad", "hm, ok", "über den Wolken", "die Kanal-Insel", "channel", "Januar", "diese Woche", "primary school",
        "carrier", "Fanatic", "Amazonas", "Likes", "as us", "al di la", "the boss said so", "an apple a day",
        "orange juice", "on target", "five guys at the bar", "a mini van", "Shell on the beach", "GAP", "Puma im Zoo",
    ],
)  # fmt: skip
def test_words_that_only_look_like_a_brand_are_none(text: str) -> None:
    assert written(text).segments == []


def test_a_name_that_is_a_word_needs_a_second_hint() -> None:
    assert names(written("my new Apple laptop")) == ["Apple"]
    assert names(written("#target")) == ["Target"]
    assert names(written("my new apple laptop")) == []
    assert names(written("SHELL", kind="scene")) == ["Shell"]
    assert names(written("Outfit von Mango")) == ["Mango"]
    assert names(written("Puma Schuhe")) == ["Puma"]


def test_the_hint_may_be_spoken_while_the_name_is_shown() -> None:
    said = reports.said([("this", 0.5, 0.8), ("laptop", 0.9, 1.2)])
    shown = reports.texts([(0.0, 2.0, "Apple")])
    assert names(drawn(text_overlay=shown, speech_transcription=said)) == ["Apple"]
    assert names(drawn(text_overlay=shown)) == []


def test_shown_and_spoken_make_one_segment_that_is_surer() -> None:
    report = drawn(
        text_overlay=reports.texts([(1.0, 3.0, "Add1das")]),
        speech_transcription=reports.said([("Adidas", 2.0, 2.5)]),
    )
    (segment,) = report.segments
    assert (segment.brand, segment.start, segment.end) == ("Adidas", 1.0, 3.0)
    assert [e.what for e in segment.evidence] == ["caption 'Add1das'", "says 'Adidas'"]
    (brand,) = report.summary.brands
    assert (brand.shown, brand.spoken) == (True, True)


def test_mentions_far_apart_are_two_segments_of_one_brand() -> None:
    report = written("Nike", "something else", "Nike")
    assert [(s.start, s.end) for s in report.segments] == [(0.0, 3.0), (40.0, 43.0)]
    assert [(b.name, b.time_s) for b in report.summary.brands] == [("Nike", 6.0)]


def test_words_that_the_recogniser_doubts_name_no_brand() -> None:
    said = reports.said([("Adidas", 0.0, 0.5)])
    doubted = said.segments[0].words[0].model_copy(update={"score": 0.1})
    said.segments[0].words[0] = doubted
    assert drawn(speech_transcription=said).segments == []


def test_spoken_names_are_found_over_several_words() -> None:
    report = spoken("today I bought new balance at foot locker and coca cola")
    assert {s.brand for s in report.segments} == {"New Balance", "Foot Locker", "Coca-Cola"}


# --- disclosure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("#ad", "paid"), ("#ad mit Adidas", "paid"), ("#admitAdidas", "paid"), ("Anzeige", "paid"),
        ("ANZEIGE", "paid"), ("Anze1ge", "paid"), ("Werbung | Tipps", "paid"), ("paid partnership", "paid"),
        ("Bezahlte Partnerschaft", "paid"), ("sponsored by Nike", "paid"), ("gifted", "gifted"),
        ("PR-Sample", "gifted"), ("Unbezahlte Werbung", "unpaid"), ("Affiliate-Links", "affiliate"),
        ("not sponsored", "denied"), ("keine Werbung", "denied"),
    ],
)  # fmt: skip
def test_disclosures_have_a_kind(text: str, kind: str) -> None:
    found = written(text).summary.disclosure
    assert {one.kind for one in found.evidence} == {kind}
    assert found.present == (kind != "denied")
    assert bool(found.denials) == (kind == "denied")


@pytest.mark.parametrize(
    "text",
    [
        "#adidas", "#adventure", "#add", "add", "nad", "Werbungskosten", "Ich habe Anzeige erstattet", "Advent",
        "die Werbung nervt", "I saw an ad today", "a gifted child", "Anzeigen", "Bewerbung", "@ad",
    ],
)  # fmt: skip
def test_words_that_only_look_like_a_disclosure_are_none(text: str) -> None:
    assert written(text).summary.disclosure.evidence == []


def test_a_label_is_read_on_a_caption_and_not_on_a_sign_nor_in_a_word_by_word_caption() -> None:
    assert written("Werbung", kind="scene").summary.disclosure.present is False
    quick = drawn(text_overlay=reports.texts([(0.0, 0.4, "die"), (0.4, 0.8, "Werbung"), (0.8, 1.2, "nervt")]))
    assert quick.summary.disclosure.present is False


def test_a_label_above_a_sentence_counts_and_a_sentence_of_two_lines_does_not() -> None:
    def two(first: str, second: str) -> bool:
        report = reports.texts([(0.0, 3.0, first), (0.0, 3.0, second)])
        low = report.segments[1].model_copy(update={"box": (0.2, 0.75, 0.8, 0.79)})
        report.segments[1] = low
        return drawn(text_overlay=report).summary.disclosure.present

    assert two("Anzeige", "Meine neue Creme")
    assert not two("schon wieder die", "Werbung")
    assert not two("Werbung", "nervt mich so")


def test_spoken_disclosures_are_sentences_not_words() -> None:
    assert spoken("dieses Video enthält Werbung").summary.disclosure.kinds == ["paid"]
    assert spoken("Werbung").summary.disclosure.present
    assert spoken("hashtag ad").summary.disclosure.present
    assert not spoken("die Werbung im Radio ist laut").summary.disclosure.present


def test_disclosures_say_where_and_what_they_mean() -> None:
    (one,) = written("nothing", "Unbezahlte Werbung").summary.disclosure.evidence
    assert (one.analyzer, one.start, one.end, one.language) == ("text_overlay", 20.0, 23.0, "de")
    assert one.words == "Unbezahlte Werbung"
    assert "ohne Bezahlung" in one.meaning


# --- the whole --------------------------------------------------------------------------------------------------------


def test_each_source_alone_is_enough_and_none_is_a_reason_to_skip() -> None:
    assert seen("laptop", LARGE).summary.looked_at == ["object_detection"]
    assert written("Nike").summary.looked_at == ["text_overlay"]
    assert spoken("Nike").summary.looked_at == ["speech_transcription"]
    with pytest.raises(NotApplicable, match="no objects, no text and no speech"):
        drawn()


def test_empty_reports_give_an_empty_report() -> None:
    report = drawn(
        object_detection=reports.objects([]), text_overlay=reports.texts([]), speech_transcription=reports.said([])
    )
    assert report.segments == []
    assert report.summary.disclosure.present is False
    assert report.summary.disclosure.first_s is None


def test_it_pickles() -> None:
    assert pickle.loads(pickle.dumps(ProductDetection())).spec.name == "product_detection"


# --- the lexicon ------------------------------------------------------------------------------------------------------


def test_qualities_of_a_match() -> None:
    lexicon = Lexicon([("Adidas", ["Adidas"], ["adidos"])])
    qualities = {text: [hit.quality for hit in lexicon.find(tokens(text))] for text in ("ADIDAS", "Ad1das", "Adibas")}
    assert qualities == {"ADIDAS": [EXACT], "Ad1das": [DIGITS], "Adibas": [NEAR]}
    assert lexicon.find(tokens("adidos")) == []


def test_distance_stops_at_its_limit() -> None:
    assert [distance("kitten", "sitting", limit) for limit in (1, 2, 3, 5)] == [2, 3, 3, 3]


def test_every_brand_is_found_by_its_own_name() -> None:
    found, keys = brands.lexicon()
    assert len(keys) > 400
    for spelling in ("Adidas", "The North Face", "Marks & Spencer", "Häagen-Dazs", "7up", "AG1", "N26"):
        assert [hit.entry.name for hit in found.find(tokens(spelling))] == [spelling]


def test_every_disclosure_of_the_lexicon_is_found() -> None:
    for words in ("enthält Produktplatzierungen", "this video is sponsored", "kostenlos zur Verfügung gestellt"):
        assert [one.shown for one in disclosure.find(words)] == [words]
