"""Where two reports say the same independently. The rules and their reasons: docs/cross_analyzer_intelligence.md.

A rule looks only at reports that are there; it never fills in for one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analyzers.methods.comparison import (
    SURE_SCORE,
    WORD,
    Found,
    Side,
    breaks,
    by_time,
    captions,
    effect_at,
    labelled,
    persons_in,
    runs,
    said,
    speech_seconds,
    words_in,
    written_language,
)
from analyzers.methods.evidence import PRESENT, Reports, article, quoted, segments_in, spelled

SPOKEN_NEAR_S: Final = 1.0
"""A caption may repeat what is said this long before it appears or after it is gone."""
REPEATED_SHARE: Final = 0.6
"""Of a caption's words that must be said for it to repeat the speech."""
REPEATED_WORDS_MIN: Final = 2
TOGETHER_S: Final = 0.15
"""An effect in the picture and one in the sound this near to each other are felt as one (ITU-R BT.1359: 0.125 s)."""
CALL_NEAR_S: Final = 4.0
"""A call to action may be shown this long before or after it is spoken."""

_SPEECH: Final = ("audio_analysis", "speech_transcription")


def agreements(reports: Reports) -> list[Found]:
    """All agreements, by time."""
    rules = (
        _caption_repeats_speech, _speech_twice, _breaks_at_cuts, _breaks_at_effects, _brand_twice, _disclosed_brand,
        _same_language, _effect_with_sound, _music_twice, _call_twice, _looking_person, _described_things,
    )  # fmt: skip
    return by_time(found for rule in rules for found in rule(reports))


def _caption_repeats_speech(reports: Reports) -> Iterator[Found]:
    if not {"text_overlay", "speech_transcription"} <= set(reports):
        return
    for caption in captions(reports):
        shown = [part.casefold() for part in WORD.findall(caption.text)]
        if len(shown) < REPEATED_WORDS_MIN:
            continue
        near = words_in(reports, (max(0.0, caption.start - SPOKEN_NEAR_S), caption.end + SPOKEN_NEAR_S))
        spoken = {part.casefold() for word in near for part in WORD.findall(word.word)}
        if sum(part in spoken for part in shown) >= REPEATED_SHARE * len(shown):
            own = [w for w in near if {p.casefold() for p in WORD.findall(w.word)} & set(shown)]
            yield Found(
                "caption_repeats_speech", caption.start, caption.end,
                f"the caption {quoted(caption.text)} repeats what is said",
                (
                    Side("text_overlay", caption.start, caption.end, f"caption {quoted(caption.text)}"),
                    Side("speech_transcription", own[0].start, own[-1].end, said(own)),
                ),
            )  # fmt: skip


def _speech_twice(reports: Reports) -> Iterator[Found]:
    if not set(_SPEECH) <= set(reports):
        return
    both = [(a, b) for a, b, sounds, words in speech_seconds(reports) if sounds and words]
    for start, end in runs(both):
        words = words_in(reports, (start, end))
        yield Found(
            "speech_understood", start, end, "the sound is speech, and words are understood",
            (Side("audio_analysis", start, end, "the sound is speech"),
             Side("speech_transcription", start, end, f"{len(words)} words")),
        )  # fmt: skip


def _breaks_at_cuts(reports: Reports) -> Iterator[Found]:
    for broken, cut in breaks(reports):
        if cut is not None:
            yield Found(
                "break_at_transition", min(broken, cut.time), max(broken, cut.time),
                "the picture's motion breaks where a transition was found",
                (Side("camera_analysis", broken, broken, "the motion breaks"),
                 Side("cut_analysis", cut.time, cut.time, str(cut.kind))),
            )  # fmt: skip


def _breaks_at_effects(reports: Reports) -> Iterator[Found]:
    for broken, cut in breaks(reports):
        effect = effect_at(reports, broken)
        if cut is None and effect is not None:
            kind = spelled(effect.kind)
            yield Found(
                "break_at_effect", min(broken, effect.start), max(broken, effect.end),
                f"the picture's motion breaks where there is a {kind}",
                (Side("camera_analysis", broken, broken, "the motion breaks"),
                 Side("visual_effects", effect.start, effect.end, kind)),
            )  # fmt: skip


def _brand_twice(reports: Reports) -> Iterator[Found]:
    if "product_detection" not in reports:
        return
    for segment in reports["product_detection"].segments:
        sources = {evidence.analyzer for evidence in segment.evidence}
        if segment.brand and {"text_overlay", "speech_transcription"} <= sources:
            yield Found(
                "brand_shown_and_spoken", segment.start, segment.end,
                f"the brand {quoted(segment.brand)} is shown and spoken of",
                tuple(Side(e.analyzer, e.start, e.end, e.what) for e in segment.evidence),
            )  # fmt: skip


def _disclosed_brand(reports: Reports) -> Iterator[Found]:
    if "product_detection" not in reports:
        return
    summary = reports["product_detection"].summary
    paid = [e for e in summary.disclosure.evidence if e.kind in ("paid", "gifted", "affiliate")]
    named = [s for s in reports["product_detection"].segments if s.brand]
    if paid and named:
        brand = named[0]
        first = next((e for e in paid if e.what != brand.evidence[0].what), paid[0])
        yield Found(
            "brand_disclosed", min(first.start, brand.start), max(first.end, brand.end),
            f"the brand {quoted(brand.brand)} is named, and {quoted(first.words)} says that it is advertising",
            (*(Side(e.analyzer, e.start, e.end, e.what) for e in brand.evidence[:1]),
             Side(first.analyzer, first.start, first.end, first.what)),
        )  # fmt: skip


def _same_language(reports: Reports) -> Iterator[Found]:
    if not {"text_overlay", "speech_transcription"} <= set(reports):
        return
    shown = captions(reports)
    written = written_language(" ".join(caption.text for caption in shown))
    spoken = list(getattr(reports["speech_transcription"].summary, "languages", {}) or {})
    if written is not None and spoken == [written]:
        words = [word for s in reports["speech_transcription"].segments for word in s.words]
        yield Found(
            "same_language", shown[0].start, shown[-1].end, "captions and speech are in one language",
            (Side("text_overlay", shown[0].start, shown[-1].end, f"captions with function words of {written!r}"),
             Side("speech_transcription", words[0].start, words[-1].end, f"speech in {written!r}")),
        )  # fmt: skip


def _effect_with_sound(reports: Reports) -> Iterator[Found]:
    if not {"visual_effects", "sound_effects"} <= set(reports):
        return
    sounds = [s for s in reports["sound_effects"].segments if getattr(s, "score", 1.0) >= SURE_SCORE]
    for effect in reports["visual_effects"].segments:
        near = [s for s in sounds if abs(getattr(s, "time", s.start) - effect.start) <= TOGETHER_S]
        if near and effect.score >= SURE_SCORE:
            kind, sound = str(effect.kind).replace("_", " "), near[0]
            at = getattr(sound, "time", sound.start)
            yield Found(
                "effect_with_sound", min(effect.start, at), max(effect.start, at),
                f"the effect {kind} comes with {article(str(sound.kind))} {sound.kind} sound",
                (Side("visual_effects", effect.start, effect.end, kind),
                 Side("sound_effects", at, sound.end, str(sound.kind))),
            )  # fmt: skip


def _music_twice(reports: Reports) -> Iterator[Found]:
    if not {"audio_analysis", "audio_environment"} <= set(reports):
        return
    both = [
        (s.start, s.end)
        for s in reports["audio_analysis"].segments
        if s.music >= PRESENT and labelled(reports["audio_environment"], (s.start, s.end), "music_bed") >= PRESENT
    ]
    for start, end in runs(both):
        yield Found(
            "music_heard_twice", start, end, "the sound is music, by its share and by its surroundings",
            (Side("audio_analysis", start, end, "music"), Side("audio_environment", start, end, "music_bed")),
        )  # fmt: skip


def _call_twice(reports: Reports) -> Iterator[Found]:
    if "temporal_flow" not in reports:
        return
    asked = getattr(reports["temporal_flow"].summary, "calls_to_action", ())
    for shown in asked:
        for spoken in asked:
            if (shown.analyzer, spoken.analyzer) != ("text_overlay", "speech_transcription"):
                continue
            near = spoken.start - CALL_NEAR_S <= shown.end and shown.start <= spoken.end + CALL_NEAR_S
            if near and shown.kind == spoken.kind:
                yield Found(
                    "call_shown_and_spoken", min(shown.start, spoken.start), max(shown.end, spoken.end),
                    f"the call to {shown.kind} is shown and spoken",
                    (Side("text_overlay", shown.start, shown.end, f"caption {quoted(shown.words)}"),
                     Side("speech_transcription", spoken.start, spoken.end, f"says {quoted(spoken.words)}")),
                )  # fmt: skip
                break


def _looking_person(reports: Reports) -> Iterator[Found]:
    if not {"eye_tracking", "object_detection"} <= set(reports):
        return
    looking = [
        (s.start, s.end)
        for s in reports["eye_tracking"].segments
        if any(face.eye_contact for face in s.faces) and persons_in(reports, (s.start, s.end))
    ]
    for start, end in runs(looking, 1.0):
        yield Found(
            "person_looks_into_camera", start, end, "a person is seen, and looks into the camera",
            (Side("eye_tracking", start, end, "eye contact"), Side("object_detection", start, end, "a person")),
        )  # fmt: skip


def _described_things(reports: Reports) -> Iterator[Found]:
    if "object_detection" not in reports:
        return
    for name in ("qwen2_vl_temporal", "blip2", "video_llava"):
        for segment in reports[name].segments if name in reports else ():
            words = {word.casefold() for word in WORD.findall(segment.description)}
            seen = segments_in(reports["object_detection"], (segment.start, segment.end))
            labels = {thing.label for s, _ in seen for thing in s.objects if thing.score >= SURE_SCORE}
            both = sorted(label for label in labels if set(label.split()) <= words)
            if both:
                yield Found(
                    "description_names_things", segment.start, segment.end,
                    f"the description names what is detected: {', '.join(both)}",
                    (Side(name, segment.start, segment.end, quoted(segment.description)),
                     Side("object_detection", segment.start, segment.end, ", ".join(both))),
                )  # fmt: skip
