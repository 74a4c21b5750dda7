"""Made-up reports of analyzers, of their own types, with only the fields that a test is about.

A field that the analyzer's model does not have is refused, so that a renamed field breaks the tests that rely on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

from pydantic import BaseModel

from analyzers import (
    audio_analysis,
    camera_analysis,
    cut_analysis,
    object_detection,
    speech_transcription,
    text_overlay,
)
from pipeline.results import Report

AnyReport = Report[Any, Any]
Model = TypeVar("Model", bound=BaseModel)


def made(model: type[Model], **fields: Any) -> Model:
    """A model with some of its fields, not validated."""
    unknown = set(fields) - set(model.model_fields)
    assert not unknown, f"{model.__name__} has no fields {sorted(unknown)}"
    return model.model_construct(**fields)


def objects(seen: Sequence[tuple[float, float, str, tuple[float, float, float, float]]]) -> AnyReport:
    """(start, end, label, box) of each object."""
    thing = object_detection.DetectedObject
    return made(
        object_detection.ObjectsReport,
        segments=[
            made(
                object_detection.ObjectsSegment,
                start=start,
                end=end,
                objects=[made(thing, label=label, score=0.9, box=box, track=1)],
            )
            for start, end, label, box in seen
        ],
        summary=made(object_detection.ObjectsSummary, counts={}),
    )


def texts(shown: Sequence[tuple[float, float, str]], kind: str = "overlay") -> AnyReport:
    """(start, end, text) of each text on screen."""
    return made(
        text_overlay.TextReport,
        segments=[
            made(text_overlay.TextSegment, start=a, end=b, text=text, kind=kind, score=1.0, box=(0.2, 0.7, 0.8, 0.74))
            for a, b, text in shown
        ],
        summary=made(text_overlay.TextSummary),
    )


def camera(moves: Sequence[tuple[float, float, str]], breaks: Sequence[float] = ()) -> AnyReport:
    """(start, end, motion) of each stretch, and the times of breaks."""
    return made(
        camera_analysis.CameraReport,
        segments=[made(camera_analysis.CameraSegment, start=a, end=b, motion=motion) for a, b, motion in moves],
        summary=made(camera_analysis.CameraSummary, breaks=list(breaks)),
    )


def cuts(times: Sequence[float], duration_s: float, kind: str = "cut") -> AnyReport:
    """Transitions of one kind at the given times."""
    borders = [0.0, *times, duration_s]
    return made(
        cut_analysis.CutReport,
        segments=[made(cut_analysis.Shot, start=a, end=b) for a, b in pairwise(borders)],
        summary=made(
            cut_analysis.CutSummary,
            cuts=[made(cut_analysis.Cut, time=t, kind=kind, score=1.0, start=t, end=t) for t in times],
        ),
    )


def sound(
    duration_s: float,
    *,
    beats: Sequence[float] = (),
    speech: Sequence[tuple[float, float]] = (),
    music: Sequence[tuple[float, float]] = (),
    silences: Sequence[tuple[float, float]] = (),
) -> AnyReport:
    """Seconds with speech or music in the given stretches."""

    def inside(second: int, stretches: Sequence[tuple[float, float]]) -> float:
        return float(any(a <= second + 0.5 < b for a, b in stretches))

    return made(
        audio_analysis.AudioReport,
        segments=[
            made(
                audio_analysis.AudioSegment,
                start=float(s),
                end=float(s + 1),
                rms_db=-20.0,
                speech=inside(s, speech),
                music=inside(s, music),
            )
            for s in range(int(duration_s))
        ],
        summary=made(audio_analysis.AudioSummary, beats=list(beats), silences=list(silences)),
    )


def said(words: Sequence[tuple[str, float, float]], language: str = "en") -> AnyReport:
    """(word, start, end) of each word, all in one segment."""
    spoken = [made(speech_transcription.Word, word=w, start=a, end=b, score=1.0) for w, a, b in words]
    segments = []
    if spoken:
        text = " ".join(word.word for word in spoken)
        start, end = spoken[0].start, spoken[-1].end
        segment = speech_transcription.SpeechSegment
        segments = [made(segment, start=start, end=end, text=text, words=spoken, language=language)]
    return made(
        speech_transcription.SpeechReport,
        segments=segments,
        summary=made(speech_transcription.SpeechSummary, language=language, languages={language: 1.0}),
    )


def eyes(looks: Sequence[tuple[float, float, int, bool]]) -> AnyReport:
    """(start, end, faces, whether they look into the camera) of each stretch."""
    from analyzers import eye_tracking

    segments = [
        made(
            eye_tracking.GazeSegment,
            start=a,
            end=b,
            faces=[made(eye_tracking.TrackedGaze, track=n, eye_contact=contact) for n in range(faces)],
        )
        for a, b, faces, contact in looks
    ]
    return made(eye_tracking.GazeReport, segments=segments, summary=made(eye_tracking.GazeSummary))


def poses(seen: Sequence[tuple[float, float, str, list[str]]]) -> AnyReport:
    """(start, end, posture, gestures) of one person in each stretch."""
    from analyzers import body_pose

    segments = [
        made(
            body_pose.PoseSegment,
            start=a,
            end=b,
            persons=[made(body_pose.Person, score=0.9, posture=posture, gestures=gestures)],
        )
        for a, b, posture, gestures in seen
    ]
    return made(body_pose.PoseReport, segments=segments, summary=made(body_pose.PoseSummary))


def effects(seen: Sequence[tuple[float, float, str, float]]) -> AnyReport:
    """(start, end, kind, score) of each effect in the picture."""
    from analyzers import visual_effects

    segments = [made(visual_effects.EffectSegment, start=a, end=b, kind=kind, score=s) for a, b, kind, s in seen]
    return made(visual_effects.EffectsReport, segments=segments, summary=made(visual_effects.EffectsSummary))


def sounds(heard: Sequence[tuple[float, str, float]]) -> AnyReport:
    """(time, kind, score) of each effect in the sound, a tenth of a second long."""
    from analyzers import sound_effects

    segments = [
        made(sound_effects.EffectSegment, start=t, end=t + 0.1, time=t, kind=kind, strength=0.5, score=score)
        for t, kind, score in heard
    ]
    return made(sound_effects.EffectsReport, segments=segments, summary=made(sound_effects.EffectsSummary))


def surroundings(heard: Sequence[tuple[float, float, dict[str, float]]]) -> AnyReport:
    """(start, end, scores by label) of each stretch of sound."""
    from analyzers import audio_environment

    segments = [
        made(
            audio_environment.EnvironmentSegment,
            start=a,
            end=b,
            labels=[made(audio_environment.Label, name=name, score=score) for name, score in labels.items()],
        )
        for a, b, labels in heard
    ]
    summary = made(audio_environment.EnvironmentSummary)
    return made(audio_environment.EnvironmentReport, segments=segments, summary=summary)


def masks(seen: Sequence[tuple[float, float, float]], setting: str = "unknown") -> AnyReport:
    """(start, end, share of the picture that is person) of each stretch."""
    from analyzers import background_segmentation

    segments = [
        made(background_segmentation.BackgroundSegment, start=a, end=b, person_share=share, setting=setting)
        for a, b, share in seen
    ]
    summary = made(background_segmentation.BackgroundSummary, setting=setting, setting_score=0.9)
    return made(background_segmentation.BackgroundReport, segments=segments, summary=summary)
