"""What the reports on the picture say about a second, as facts for a line of notes (see evidence.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from analyzers.methods.comparison import persons_in
from analyzers.methods.evidence import (
    PRESENT,
    Indexed,
    Phrase,
    Reports,
    Stretch,
    article,
    hedged,
    longest_in,
    quoted,
    segments_in,
    spelled,
)

OBJECTS_MAX: Final = 2
"""Kinds of things named beside the people, the largest first."""
LARGE_AREA: Final = 0.6
"""A box this large fills the picture."""
DOMINANT_COLOR: Final = 0.6
"""Share of the picture from which one colour is worth a word."""
POOR_QUALITY: Final = 40.0
"""Score 0..100 below which the picture's faults are named."""
SIGN_SCORE_MIN: Final = 0.9
SIGN_LETTERS_MIN: Final = 3
"""Signs in the scene that are shorter or less sure are scraps."""
SIGNS_MAX: Final = 1
CAPTIONS_MAX: Final = 4
"""Of word-by-word captions, what one second shows."""
LABEL_SCORE_MIN: Final = 0.5
"""Of a scene word by the image classifier, which names a thing even where there is none."""
SETTING_SCORE_MIN: Final = 0.5
AGE_SIGHTS_MIN: Final = 4
"""Looks at a face, a second's worth, below which its age is not worth a word."""
FADE_S: Final = 1.0
"""A fade of visual_effects this near to one of cut_analysis is that one."""

_COUNT_WORDS: Final = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_PLURALS: Final = {
    "person": "people", "bus": "buses", "knife": "knives", "sheep": "sheep", "skis": "skis", "couch": "couches",
    "bench": "benches", "toothbrush": "toothbrushes", "wine glass": "wine glasses", "sandwich": "sandwiches",
    "scissors": "scissors", "mouse": "mice",
}  # fmt: skip
CAMERA: Final = {
    "static": "static camera",
    "pan_left": "camera pans left",
    "pan_right": "camera pans right",
    "tilt_up": "camera tilts up",
    "tilt_down": "camera tilts down",
    "zoom_in": "camera pushes in",
    "zoom_out": "camera pulls back",
    "roll": "camera rolls",
    "handheld": "handheld camera",
}
_EFFECTS: Final = {
    "fade_in": "fades in", "fade_out": "fades out", "flash": "a flash", "freeze_frame": "the picture freezes",
    "slow_motion": "slow motion", "speed_ramp": "the speed changes", "zoom_punch": "a punch-in",
    "blur_in": "blur clears", "blur_out": "blurs out", "split_screen": "split screen", "letterbox": "letterbox bars",
    "black_and_white": "black and white", "overlay_graphic": "a graphic appears", "glitch": "a glitch",
    "shake": "the picture shakes",
}  # fmt: skip
_POSTURES: Final = ("standing", "sitting", "bending", "lying")
_GESTURES: Final = {
    "hand_raised": "raising a hand", "both_hands_raised": "raising both hands", "arms_crossed": "arms crossed",
    "arm_extended": "an arm stretched out", "arms_wide": "arms wide open",
}  # fmt: skip
_SIZES: Final = {
    "extreme_close_up": "extreme close-up", "close_up": "close-up", "medium_close_up": "medium close-up",
    "medium_shot": "medium shot", "medium_long_shot": "medium long shot", "long_shot": "long shot",
    "extreme_long_shot": "extreme long shot",
}  # fmt: skip
PHASE_RANK, SUBJECT_RANK, THING_RANK, BRAND_RANK, CAPTION_RANK, CAMERA_RANK, CUT_RANK, EFFECT_RANK, LOOK_RANK = range(9)
DESCRIBED_RANK: Final = 30
_TEXT: Final = "text_overlay"
_PHASES: Final = {
    "build": "build-up begins", "peak": "the peak begins", "cta": "call to action begins", "outro": "outro begins",
}  # fmt: skip


def facts(reports: Reports, stretch: Stretch, beats: Sequence[float], window_s: float) -> Iterator[Phrase]:
    """All facts of the picture in a stretch; `window_s` is how near a beat something is on it."""
    if "object_detection" in reports:
        yield from _things(reports, stretch)
    elif {"body_pose", "eye_tracking"} & set(reports):
        yield from _doing(reports, stretch, ())
    if "cut_analysis" in reports:
        yield from _cuts(reports["cut_analysis"], stretch, beats, window_s)
    if "camera_analysis" in reports:
        cuts = getattr(reports["cut_analysis"].summary, "cuts", ()) if "cut_analysis" in reports else ()
        # Where a cut is on the beat, the new shot's camera need not be said to be on it too.
        free = [beat for beat in beats if all(abs(cut.time - beat) > 2 * window_s for cut in cuts)]
        yield from _camera(reports["camera_analysis"], stretch, free, window_s)
    fades = "cut_analysis" in reports and any(
        cut.kind == "fade" and stretch[0] - FADE_S <= cut.time < stretch[1] + FADE_S
        for cut in getattr(reports["cut_analysis"].summary, "cuts", ())
    )
    shown = [s.text.casefold() for s, _ in segments_in(reports["text_overlay"], stretch)] if _TEXT in reports else []
    several = "object_detection" in reports and persons_in(reports, stretch) > 1
    for name, speak in _SPEAKERS.items():
        if name in reports and not (several and name == "age_estimation"):  # whose age it is would not be clear
            for fact in speak(reports[name], stretch, name):
                # A brand that a caption of this second names is quoted with it; a fade between shots is a transition.
                quoted_too = fact.rank == BRAND_RANK and fact.key and any(fact.key in text for text in shown)
                if not quoted_too and not (fades and fact.key.startswith("effect fade")):
                    yield fact


def _near_beat(time_s: float, beats: Sequence[float], window_s: float) -> bool:
    return any(abs(time_s - beat) <= window_s for beat in beats)


def _cuts(report: Indexed, stretch: Stretch, beats: Sequence[float], window_s: float) -> Iterator[Phrase]:
    for cut in getattr(report.summary, "cuts", ()):
        if stretch[0] <= cut.time < stretch[1]:
            if cut.kind == "cut" and _near_beat(cut.time, beats, window_s):
                both = ("cut_analysis", "audio_analysis")
                yield Phrase(both, "cut on the beat", CUT_RANK, 3.0, lasting=False, cut=True)
            else:
                yield Phrase(("cut_analysis",), str(cut.kind), CUT_RANK, 3.0, lasting=False, cut=True)


def _camera(report: Indexed, stretch: Stretch, beats: Sequence[float], window_s: float) -> Iterator[Phrase]:
    segment = longest_in(report, stretch)
    if segment is None or segment.motion not in CAMERA:
        return
    weight = 0.5 if segment.motion == "static" else 1.5
    by: tuple[str, ...] = ("camera_analysis",)
    text = CAMERA[segment.motion]
    begins = segment.start > 0 and stretch[0] <= segment.start < stretch[1]
    if begins and segment.motion != "static" and _near_beat(segment.start, beats, window_s / 2):
        text, by = f"{text} on the beat", ("camera_analysis", "audio_analysis")
    yield Phrase(by, text, CAMERA_RANK, weight, key=f"camera {segment.motion}")


# --- people and things ------------------------------------------------------------------------------------------------


def _things(reports: Reports, stretch: Stretch) -> Iterator[Phrase]:
    """People with what they do; then other things, the largest first."""
    at_once: dict[str, int] = {}
    largest: dict[str, list[tuple[float, float, float]]] = {}
    samples = [segment for segment, _ in segments_in(reports["object_detection"], stretch)]
    for segment in samples:
        by_label: dict[str, list[Any]] = {}
        for thing in getattr(segment, "objects", ()):
            if thing.score >= PRESENT:
                by_label.setdefault(thing.label, []).append(thing)
        for label, things in by_label.items():
            at_once[label] = max(at_once.get(label, 0), len(things))
            best = max(things, key=lambda thing: _area(thing.box))
            x0, _, x1, _ = best.box
            largest.setdefault(label, []).append(((x0 + x1) / 2, _area(best.box), best.score))
    there = [label for label, seen in largest.items() if len(seen) >= PRESENT * len(samples)]
    areas = {label: _mean([area for _, area, _ in largest[label]]) for label in there}
    ordered = sorted(there, key=lambda name: (name != "person", -areas[name], name))
    if "person" in there:
        text = _thing("person", at_once["person"], largest["person"], areas["person"])
        yield from _doing(reports, stretch, (text,))
    others = [label for label in ordered if label != "person"]
    for label in others[:OBJECTS_MAX]:
        text = _thing(label, at_once[label], largest[label], areas[label])
        yield Phrase(("object_detection",), text, THING_RANK, 1.0, key=f"thing {label} {at_once[label]}")


def _thing(label: str, count: int, seen: Sequence[tuple[float, float, float]], area: float) -> str:
    score = _mean([score for _, _, score in seen])
    if count > 1:
        return hedged(f"{_COUNT_WORDS.get(count, str(count))} {_PLURALS.get(label, label + 's')}", score)
    middle = _mean([x for x, _, _ in seen])
    place = "at left" if middle < 1 / 3 else "at right" if middle > 2 / 3 else "in the middle"
    return hedged(f"{article(label)} {label} {'filling the picture' if area >= LARGE_AREA else place}", score)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _area(box: Sequence[float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _doing(reports: Reports, stretch: Stretch, who: tuple[str, ...]) -> Iterator[Phrase]:
    """The people, with shot size, posture, gesture and gaze, each by its own analyzer, in one fact."""
    by, words = (["object_detection"] if who else []), []
    if "composition_analysis" in reports and who:
        size = getattr(longest_in(reports["composition_analysis"], stretch), "shot_size", None)
        if size in _SIZES:
            who = (f"{_SIZES[size]} of {who[0]}" if not who[0].startswith("perhaps") else who[0],)
            by.append("composition_analysis")
    if "body_pose" in reports:
        people = [p for s, _ in segments_in(reports["body_pose"], stretch) for p in getattr(s, "persons", ())]
        sure = [p for p in people if getattr(p, "score", 1.0) >= PRESENT]
        posture = _most([str(p.posture) for p in sure], _POSTURES)
        gesture = _most([str(g) for p in sure for g in getattr(p, "gestures", ())], tuple(_GESTURES))
        if posture:
            words.append(posture)
        if gesture:
            words.append(_GESTURES[gesture])
        if posture or gesture:
            by.append("body_pose")
    if "eye_tracking" in reports:
        looks = [f.eye_contact for s, _ in segments_in(reports["eye_tracking"], stretch) for f in s.faces]
        if looks and sum(map(bool, looks)) >= PRESENT * len(looks):
            words.append("looking into the camera")
            by.append("eye_tracking")
    if who or words:
        text = ", ".join([*who, *words])
        yield Phrase(tuple(by), text, SUBJECT_RANK, 2.5, key=f"people {text.removeprefix('perhaps ')}")


def _most(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The commonest known name, if it is at least half of all."""
    counted = {name: names.count(name) for name in dict.fromkeys(names) if name in known}
    best = max(counted, key=lambda name: counted[name], default=None)
    return best if best is not None and counted[best] >= PRESENT * len(names) else None


# --- everything else --------------------------------------------------------------------------------------------------


def _texts(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    signs = captions = 0
    for segment, _ in segments_in(report, stretch):
        score = getattr(segment, "score", 1.0)
        if segment.kind == "overlay" and captions < CAPTIONS_MAX:
            captions += 1
            text = f"caption {quoted(segment.text)}"
            yield Phrase((name,), text, CAPTION_RANK, 2.0, key=f"{text} {segment.start}")
        elif segment.kind == "scene" and signs < SIGNS_MAX and score >= SIGN_SCORE_MIN and _is_sign(segment.text):
            signs += 1
            yield Phrase((name,), f"sign {quoted(segment.text)}", CAPTION_RANK, 0.8)


def _is_sign(text: str) -> bool:
    return sum(character.isalpha() for character in text) >= SIGN_LETTERS_MIN


def _products(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    """Brands, and where a disclosure begins; a product only restates an object that is named already."""
    for segment, _ in segments_in(report, stretch):
        brand = getattr(segment, "brand", None)
        if brand and segment.score >= PRESENT:
            text = hedged(f"brand {quoted(str(brand))}", segment.score)
            yield Phrase((name,), text, BRAND_RANK, 1.2, key=str(brand).casefold())
    disclosed = getattr(getattr(report.summary, "disclosure", None), "evidence", ())
    if any(stretch[0] <= e.start < stretch[1] and e.kind != "denied" for e in disclosed):
        yield Phrase((name,), "advertising disclosed", BRAND_RANK, 1.7, lasting=False)


def _effects(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    for segment, _ in segments_in(report, stretch):
        score = getattr(segment, "score", None)
        if score is None or score >= PRESENT:
            text = hedged(_EFFECTS.get(str(segment.kind), f"{spelled(segment.kind)} effect"), score)
            yield Phrase((name,), text, EFFECT_RANK, 1.8, key=f"effect {segment.kind} {segment.start}")


def _color(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    segment = longest_in(report, stretch)
    top = max(getattr(segment, "palette", None) or (), key=lambda color: color.share, default=None)
    if top is not None and top.share >= DOMINANT_COLOR:
        yield Phrase((name,), f"mostly {top.name}", LOOK_RANK, 0.6)


def _quality(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    segment = longest_in(report, stretch)
    causes = [spelled(cause) for cause in getattr(segment, "causes", None) or ()]
    if causes and getattr(segment, "score", 100.0) < POOR_QUALITY:
        yield Phrase((name,), f"poor picture ({', '.join(causes)})", LOOK_RANK, 0.6)


def _scene_words(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    labels = getattr(longest_in(report, stretch), "labels", None) or ()
    top = max(labels, key=lambda label: label.score, default=None)
    if top is not None and top.score >= LABEL_SCORE_MIN:
        yield Phrase((name,), hedged(f"looks like {spelled(top.name)}", top.score), LOOK_RANK, 0.4)


def _setting(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    setting = getattr(longest_in(report, stretch), "setting", None)
    sure = getattr(report.summary, "setting_score", 1.0)
    if setting in ("indoor", "outdoor") and (sure or 0.0) >= SETTING_SCORE_MIN:
        yield Phrase((name,), f"{setting}s", LOOK_RANK, 0.5)


def _ages(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    """The estimated age of a single face that was looked at often enough, once per person."""
    looked_at = {person.track: person for person in report.summary.people if person.sights >= AGE_SIGHTS_MIN}
    tracks = {face.track for s, _ in segments_in(report, stretch) for face in s.faces}
    if len(tracks) == 1 and tracks <= set(looked_at):
        (track,) = tracks
        text = f"age about {looked_at[track].age:.0f} by estimate"
        yield Phrase((name,), text, LOOK_RANK, 0.4, key=f"age {track}")


def _scenes(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    for segment, _ in segments_in(report, stretch):
        if segment.start > 0 and stretch[0] <= segment.start < stretch[1]:
            yield Phrase((name,), "a new scene", PHASE_RANK, 1.0, key=f"scene {segment.start}")


def _phases(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    for segment, _ in segments_in(report, stretch):
        if stretch[0] <= segment.start < stretch[1] and segment.phase in ("peak", "cta", "outro"):
            yield Phrase((name,), _PHASES[segment.phase], PHASE_RANK, 1.6, key=f"phase {segment.start}")


def _described(report: Indexed, stretch: Stretch, name: str) -> Iterator[Phrase]:
    description = getattr(longest_in(report, stretch), "description", None)
    if description:
        yield Phrase((name,), f"described as {quoted(str(description))}", DESCRIBED_RANK, 1.4)


_SPEAKERS: Final[Mapping[str, Callable[[Indexed, Stretch, str], Iterator[Phrase]]]] = {
    "temporal_flow": _phases,
    "scene_segmentation": _scenes,
    "product_detection": _products,
    "text_overlay": _texts,
    "visual_effects": _effects,
    "background_segmentation": _setting,
    "composition_analysis": _scene_words,
    "age_estimation": _ages,
    "color_analysis": _color,
    "content_quality": _quality,
    "qwen2_vl_temporal": _described,
    "blip2": _described,
    "video_llava": _described,
}
