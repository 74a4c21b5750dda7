"""Where two reports cannot both be right, or do not fit. The rules: docs/cross_analyzer_intelligence.md.

Which of the two is right is not decided here; both sides stand beside it with their times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analyzers.methods.comparison import (
    SURE_SCORE,
    Found,
    Side,
    breaks,
    by_time,
    captions,
    effect_at,
    labelled,
    persons_in,
    runs,
    speech_seconds,
    words_in,
    written_language,
)
from analyzers.methods.evidence import PRESENT, Reports, quoted, segments_in

SILENT_WORD_S: Final = 0.3
"""A word that lies in silence for longer than this is a contradiction."""
MUSIC_RUN_S: Final = 4.0
"""Surroundings are means over seconds; a shorter disagreement about music is resolution."""
EYE_CONTACT_S: Final = 1.0
FLASH_S: Final = 0.1
FREEZE_S: Final = 0.4
"""How long a moving camera must overlap a frozen picture: motion is averaged over a second."""
PERSON_SHARE: Final = 0.3
"""Of the picture that is person, from which a detector of people should see one."""
GREY_SATURATION: Final = 0.15
BRAND_NEAR_S: Final = 3.0

_SPEECH: Final = ("audio_analysis", "speech_transcription")


def contradictions(reports: Reports) -> list[Found]:
    """All contradictions, by time."""
    rules = (
        _speech_without_words, _words_in_silence, _breaks_without_cuts, _eye_contact_with_nobody, _faces_without_people,
        _more_faces_than_people, _person_area_without_person, _other_language, _music_or_not, _flash_or_cut,
        _frozen_or_moving, _grey_or_colored, _other_brand, _undisclosed_brand,
    )  # fmt: skip
    return by_time(found for rule in rules for found in rule(reports))


# --- sound ------------------------------------------------------------------------------------------------------------


def _speech_without_words(reports: Reports) -> Iterator[Found]:
    if not set(_SPEECH) <= set(reports):
        return
    lone = [(a, b) for a, b, sounds, words in speech_seconds(reports) if sounds and not words]
    for start, end in runs(lone):
        yield Found(
            "speech_not_understood", start, end, "the sound is speech, but no words are understood",
            (Side("audio_analysis", start, end, "the sound is speech"),
             Side("speech_transcription", start, end, "no words")),
        )  # fmt: skip


def _words_in_silence(reports: Reports) -> Iterator[Found]:
    if not set(_SPEECH) <= set(reports):
        return
    for start, end in getattr(reports["audio_analysis"].summary, "silences", ()):
        for word in words_in(reports, (start, end)):
            if min(word.end, end) - max(word.start, start) > SILENT_WORD_S:
                yield Found(
                    "word_in_silence", word.start, word.end,
                    f"the word {quoted(word.word)} is understood where it is silent",
                    (Side("speech_transcription", word.start, word.end, f"says {quoted(word.word)}"),
                     Side("audio_analysis", start, end, "silence")),
                )  # fmt: skip


def _music_or_not(reports: Reports) -> Iterator[Found]:
    if not {"audio_analysis", "audio_environment"} <= set(reports):
        return
    environment = reports["audio_environment"]
    only, lacking = [], []
    for s in reports["audio_analysis"].segments:
        surroundings = [label for e, _ in segments_in(environment, (s.start, s.end)) for label in e.labels]
        bed = labelled(environment, (s.start, s.end), "music_bed")
        if s.music >= SURE_SCORE and surroundings and bed == 0:
            only.append((s.start, s.end))
        if s.music < 1 - SURE_SCORE and bed >= SURE_SCORE:
            lacking.append((s.start, s.end))
    for stretches, level, place in ((only, "music", "no music"), (lacking, "no music", "music_bed")):
        for start, end in runs(stretches, MUSIC_RUN_S):
            yield Found(
                "music_or_not", start, end, "one analyzer hears music, the other does not",
                (Side("audio_analysis", start, end, level), Side("audio_environment", start, end, place)),
            )  # fmt: skip


def _other_language(reports: Reports) -> Iterator[Found]:
    if not {"text_overlay", "speech_transcription"} <= set(reports):
        return
    shown = captions(reports)
    written = written_language(" ".join(caption.text for caption in shown))
    spoken = list(getattr(reports["speech_transcription"].summary, "languages", {}) or {})
    words = [word for s in reports["speech_transcription"].segments for word in s.words]
    if written is not None and words and spoken and written not in spoken:
        yield Found(
            "other_language", min(shown[0].start, words[0].start), max(shown[-1].end, words[-1].end),
            "captions and speech are in different languages",
            (Side("text_overlay", shown[0].start, shown[-1].end, f"captions with function words of {written!r}"),
             Side("speech_transcription", words[0].start, words[-1].end, f"speech in {', '.join(map(repr, spoken))}")),
        )  # fmt: skip


# --- people -----------------------------------------------------------------------------------------------------------


def _eye_contact_with_nobody(reports: Reports) -> Iterator[Found]:
    if not {"eye_tracking", "object_detection"} <= set(reports):
        return
    lone = [
        (s.start, s.end)
        for s in reports["eye_tracking"].segments
        if any(face.eye_contact for face in s.faces) and not persons_in(reports, (s.start, s.end))
    ]
    for start, end in runs(lone, EYE_CONTACT_S):
        yield Found(
            "eye_contact_with_nobody", start, end, "somebody looks into the camera, but no person is detected",
            (Side("eye_tracking", start, end, "eye contact"), Side("object_detection", start, end, "no person")),
        )  # fmt: skip


def _faces_without_people(reports: Reports) -> Iterator[Found]:
    for name in ("eye_tracking", "age_estimation"):
        if not {name, "object_detection"} <= set(reports):
            continue
        lone = [
            (s.start, s.end)
            for s in reports[name].segments
            if s.faces
            and not any(getattr(face, "eye_contact", False) for face in s.faces)
            and not persons_in(reports, (s.start, s.end))
        ]
        for start, end in runs(lone):
            yield Found(
                "face_without_person", start, end, "a face is seen, but no person",
                (Side(name, start, end, "a face"), Side("object_detection", start, end, "no person")),
            )  # fmt: skip


def _more_faces_than_people(reports: Reports) -> Iterator[Found]:
    if not {"eye_tracking", "object_detection"} <= set(reports):
        return
    more = []
    for s in reports["eye_tracking"].segments:
        persons = persons_in(reports, (s.start, s.end))
        if persons and len(s.faces) > persons:
            more.append((s.start, s.end))
    for start, end in runs(more):
        yield Found(
            "more_faces_than_people", start, end, "more faces are seen than people",
            (Side("eye_tracking", start, end, "more faces"), Side("object_detection", start, end, "fewer people")),
        )  # fmt: skip


def _person_area_without_person(reports: Reports) -> Iterator[Found]:
    if not {"background_segmentation", "object_detection"} <= set(reports):
        return
    lone = []
    for s in reports["object_detection"].segments:
        masks = [m.person_share for m, _ in segments_in(reports["background_segmentation"], (s.start, s.end))]
        if masks and min(masks) >= PERSON_SHARE and not any(thing.label == "person" for thing in s.objects):
            lone.append((s.start, s.end))
    for start, end in runs(lone):
        yield Found(
            "person_area_without_person", start, end, "much of the picture is a person's, but no person is detected",
            (Side("background_segmentation", start, end, "a person's area"),
             Side("object_detection", start, end, "no person")),
        )  # fmt: skip


# --- picture ----------------------------------------------------------------------------------------------------------


def _breaks_without_cuts(reports: Reports) -> Iterator[Found]:
    for broken, cut in breaks(reports):
        if cut is None and effect_at(reports, broken) is None:
            yield Found(
                "break_without_transition", broken, broken,
                "the picture's motion breaks where no transition was found",
                (Side("camera_analysis", broken, broken, "the motion breaks"),
                 Side("cut_analysis", broken, broken, "no transition")),
            )  # fmt: skip


def _flash_or_cut(reports: Reports) -> Iterator[Found]:
    if not {"visual_effects", "cut_analysis"} <= set(reports):
        return
    for flash in (s for s in reports["visual_effects"].segments if s.kind == "flash"):
        for cut in getattr(reports["cut_analysis"].summary, "cuts", ()):
            if cut.kind == "cut" and flash.start - FLASH_S <= cut.time <= flash.end + FLASH_S:
                yield Found(
                    "flash_or_cut", min(flash.start, cut.time), max(flash.end, cut.time),
                    "a cut is found where there is a flash: the cut may be the flash, or hide under it",
                    (Side("visual_effects", flash.start, flash.end, "flash"),
                     Side("cut_analysis", cut.time, cut.time, "cut")),
                )  # fmt: skip


def _frozen_or_moving(reports: Reports) -> Iterator[Found]:
    if not {"visual_effects", "camera_analysis"} <= set(reports):
        return
    for still in (s for s in reports["visual_effects"].segments if s.kind == "freeze_frame"):
        for move, shared_s in segments_in(reports["camera_analysis"], (still.start, still.end)):
            if move.motion not in ("static",) and shared_s >= max(FREEZE_S, 0.5 * (still.end - still.start)):
                yield Found(
                    "frozen_or_moving", max(still.start, move.start), min(still.end, move.end),
                    "the picture is frozen, but the camera is said to move",
                    (Side("visual_effects", still.start, still.end, "freeze frame"),
                     Side("camera_analysis", move.start, move.end, str(move.motion))),
                )  # fmt: skip


def _grey_or_colored(reports: Reports) -> Iterator[Found]:
    if not {"visual_effects", "color_analysis"} <= set(reports):
        return
    for grey in (s for s in reports["visual_effects"].segments if s.kind == "black_and_white"):
        for color, shared_s in segments_in(reports["color_analysis"], (grey.start, grey.end)):
            if color.saturation >= GREY_SATURATION and shared_s >= 0.8 * (color.end - color.start):
                yield Found(
                    "grey_or_colored", color.start, color.end, "black and white, but the colours are saturated",
                    (Side("visual_effects", grey.start, grey.end, "black and white"),
                     Side("color_analysis", color.start, color.end, f"saturation {color.saturation:.2f}")),
                )  # fmt: skip


# --- products ---------------------------------------------------------------------------------------------------------


def _other_brand(reports: Reports) -> Iterator[Found]:
    """One brand is spoken of while another of its trade is shown."""
    if "product_detection" not in reports:
        return
    brands = [s for s in reports["product_detection"].segments if s.brand]
    for spoken in brands:
        if {e.analyzer for e in spoken.evidence} != {"speech_transcription"}:
            continue
        for shown in brands:
            near = shown.start - BRAND_NEAR_S <= spoken.end and spoken.start <= shown.end + BRAND_NEAR_S
            only = {e.analyzer for e in shown.evidence} == {"text_overlay"}
            if near and only and shown.brand != spoken.brand and shown.category == spoken.category:
                yield Found(
                    "other_brand", min(shown.start, spoken.start), max(shown.end, spoken.end),
                    f"{quoted(spoken.brand)} is spoken of while {quoted(shown.brand)} is shown",
                    (*(Side(e.analyzer, e.start, e.end, e.what) for e in spoken.evidence[:1]),
                     *(Side(e.analyzer, e.start, e.end, e.what) for e in shown.evidence[:1])),
                )  # fmt: skip


def _undisclosed_brand(reports: Reports) -> Iterator[Found]:
    """A brand and a call to buy or to follow a link, and no word that it is advertising."""
    if not {"product_detection", "temporal_flow"} <= set(reports):
        return
    products, flow = reports["product_detection"], reports["temporal_flow"]
    brands = [s for s in products.segments if s.brand and s.score >= PRESENT]
    asked = [c for c in getattr(flow.summary, "calls_to_action", ()) if c.kind in ("buy", "link", "visit")]
    if brands and asked and not products.summary.disclosure.present:
        brand, call = brands[0], asked[0]
        denied = getattr(products.summary.disclosure, "denials", ())
        note = f", and {quoted(denied[0])} says that nobody paid" if denied else ""
        yield Found(
            "brand_without_disclosure", min(brand.start, call.start), max(brand.end, call.end),
            f"the brand {quoted(brand.brand)} and a call to {call.kind}, but no disclosure{note}",
            (*(Side(e.analyzer, e.start, e.end, e.what) for e in brand.evidence[:1]),
             Side(call.analyzer, call.start, call.end, f"{quoted(call.words)}")),
        )  # fmt: skip
