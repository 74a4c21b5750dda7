"""Joins cut_analysis' shots to scenes, and says at each boundary what changed.

What a shot looks like and which shots belong together: analyzers/methods/scene_groups.py. The reason names the largest
measured differences between the two scenes: main colours, brightness, colourfulness, layout of edges; nothing that was
not measured. Views of one place from opposite sides may share no colours and count as two scenes; two places in one
light may count as one. Full profile: CLIP's vectors (analyzers/models/clip.py) say how far two shots are apart; the
reasons stay those that can be measured in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.methods.scene_groups import CELLS, Looks, apart, describe, group
from analyzers.models import clip
from analyzers.models.clip import Clip, ClipOptions
from analyzers.models.hub import gpu_gb
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.errors import NotApplicable
from pipeline.results import ModelInfo, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch, Item

LOOK_S: Final = 0.49
"""Time between the pictures that are described."""
LOOKS_MAX: Final = 8
"""Of a shot, evenly over it; more tell nothing new."""
CHUNKS: Final = 8
"""In a batch of the full profile, with two pictures each."""
EDGE_S: Final = 0.12
"""Pictures this close to a shot's ends may show the shot beside it."""
COLOR_SHARE_MIN: Final = 0.3
"""Share of the pixels from which a colour is the main one."""
LIGHT_MIN, CHROMA_MIN, EDGES_MIN = 0.08, 0.05, 0.25
"""Differences of mean lightness, chroma and edge layout that are worth a word."""


class Scene(Segment):
    """One scene.

    Args:
        index: from 0.
        shots: index of its first and of its last shot in cut_analysis.
        reason: what changed where it begins, as a sentence.
        distance: how far its first shot is from the shot before, 0..1; null for the first scene.
    """

    index: int
    shots: tuple[int, int]
    reason: str
    distance: Score | None = None


class ScenesSummary(Summary):
    """How many scenes, how long they are in the mean, and where they begin after the first."""

    count: int
    mean_scene_s: Seconds
    boundaries: list[Seconds]


class ScenesReport(Report[Scene, ScenesSummary]):
    """Scenes that cover the video."""


@dataclass(frozen=True)
class ScenesPart:
    """Descriptions of some of a chunk's frames, and where the chunk ends."""

    pts_s: npt.NDArray[np.float64]
    looks: Looks
    end_s: float


class SceneSegmentation(Analyzer[ScenesPart, ScenesReport]):
    """Scenes of shots that look alike."""

    spec = AnalyzerSpec("scene_segmentation", version="1", needs=SCAN, after=("cut_analysis",), cpus=0.5)
    options_model = ClipOptions
    tiles = True
    _clip: Clip | None = None

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """CLIP runs on a GPU, over the pictures of several chunks."""
        assert isinstance(options, ClipOptions)
        if profile == "embedded":
            return cls.spec
        return replace(cls.spec, gpu_gb=gpu_gb(options, clip.ACTIVATIONS_GB), batch=CHUNKS)

    def load(self, device: str, profile: Profile) -> None:
        """Embedded: nothing to read, the method is classical. Full: CLIP beside it.

        Raises:
            ModelUnavailable: CLIP's files are not there, or cannot be used.
        """
        import cv2

        cv2.setNumThreads(1)
        if profile.name == "full":
            from analyzers.models.hub import locate

            assert isinstance(self.options, ClipOptions)
            model = locate(profile.models_dir, self.options.model, self.spec.name)
            self._clip = clip.shared_clip(model, device, self.options)
            note = "; ".join(
                text for text in (self._clip.info.note, "the distance of a boundary is unverified") if text
            )
            self.model = self._clip.info.model_copy(update={"note": note})
            return
        self.model = ModelInfo(
            id="CIELAB and edge histograms, overlapping links", revision=self.spec.version,
            backend=f"opencv {cv2.__version__}",
        )  # fmt: skip

    def analyze(self, item: FrameBatch) -> ScenesPart:
        """Describe about two pictures a second."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[ScenesPart]:
        """The same for chunks of any videos, all their pictures looked at at once where there is a network."""
        batches = [item for item in items if isinstance(item, FrameBatch)]
        chosen = [_chosen(item) for item in batches]
        pictures = [[item.frames[number] for number in some] for item, some in zip(batches, chosen, strict=True)]
        looks = [describe(some) for some in pictures]
        if self._clip is not None:
            vectors = self._clip.look([picture for some in pictures for picture in some])
            ends = np.cumsum([len(some) for some in pictures])
            meanings = np.split(vectors, ends[:-1])
            looks = [look._replace(meaning=meaning) for look, meaning in zip(looks, meanings, strict=True)]
        return [
            ScenesPart(np.asarray(item.pts_s[some]), look, item.end_s)
            for item, some, look in zip(batches, chosen, looks, strict=True)
        ]

    def summarize(self, parts: Sequence[ScenesPart], upstream: Upstream) -> ScenesReport:
        """Group the shots and name what changed."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        shots = upstream["cut_analysis"].segments
        pts_s = np.concatenate([part.pts_s for part in parts])
        looks = Looks._make(np.concatenate(arrays) for arrays in zip(*(part.looks for part in parts), strict=True))
        of_shot = [_some(looks, pts_s, shot.start, shot.end) for shot in shots]
        scenes: list[Scene] = []
        before: Looks | None = None
        starts, ends = [shot.start for shot in shots], [shot.end for shot in shots]
        for first, last in group(of_shot, starts, ends):
            here = Looks._make(np.concatenate(arrays) for arrays in zip(*of_shot[first : last + 1], strict=True))
            scenes.append(
                Scene(
                    start=starts[first],
                    end=ends[last],
                    index=len(scenes),
                    shots=(first, last),
                    reason=reason(before, here) if before else "The video begins.",
                    distance=apart(of_shot[first - 1], of_shot[first]) if before else None,
                )
            )
            before = here
        lengths = [scene.end - scene.start for scene in scenes]
        summary = ScenesSummary(
            count=len(scenes),
            mean_scene_s=float(np.mean(lengths)) if lengths else 0.0,
            boundaries=[scene.start for scene in scenes[1:]],
        )
        return ScenesReport(segments=scenes, summary=summary)


def _chosen(item: FrameBatch) -> list[int]:
    """Which frames of a chunk are described."""
    chosen: list[int] = []
    for number in range(item.lead_in, len(item.frames)):
        if not chosen or item.pts_s[number] - item.pts_s[chosen[-1]] >= LOOK_S:
            chosen.append(number)
    return chosen


def _some(looks: Looks, pts_s: npt.NDArray[np.float64], start_s: float, end_s: float) -> Looks:
    """Up to eight descriptions of a shot; the nearest one for a shot between two samples."""
    margin_s = min(EDGE_S, (end_s - start_s) / 4)
    inside = np.flatnonzero((pts_s >= start_s + margin_s) & (pts_s <= end_s - margin_s))
    if not len(inside):
        inside = np.array([int(np.argmin(np.abs(pts_s - (start_s + end_s) / 2)))])
    chosen = inside[np.unique(np.linspace(0, len(inside) - 1, LOOKS_MAX).round().astype(int))]
    return Looks._make(array[chosen] for array in looks)


# --- reasons ----------------------------------------------------------------------------------------------------------


def reason(before: Looks, after: Looks) -> str:
    """A sentence on what differs most between two scenes."""
    (one, was), (two, now) = (_main_color(looks) for looks in (before, after))
    light = float(after.light.mean() - before.light.mean())
    chroma = float(after.chroma.mean() - before.chroma.mean())
    layout = float(np.abs(after.edges.mean(axis=0) - before.edges.mean(axis=0)).sum() / 2)
    changes: list[tuple[float, str]] = []
    if one != two and min(was, now) >= COLOR_SHARE_MIN:
        changes.append((1.0, f"the main colour goes from {one} to {two}"))
    if abs(light) >= LIGHT_MIN:
        changes.append((abs(light) / LIGHT_MIN, f"the picture becomes {'brighter' if light > 0 else 'darker'}"))
    if abs(chroma) >= CHROMA_MIN:
        changes.append((abs(chroma) / CHROMA_MIN, f"colours become {'stronger' if chroma > 0 else 'paler'}"))
    if layout >= EDGES_MIN:
        changes.append((layout / EDGES_MIN, "shapes lie elsewhere"))
    if not changes and after.meaning.shape[1] > 0:
        return "What is shown changes."
    if not changes:
        return "The look changes: another mix of colours."
    words = [words for _, words in sorted(changes, reverse=True)[:3]]
    return "The look changes: " + (words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]) + "."


def _main_color(looks: Looks) -> tuple[str, float]:
    """The name of the colour with most of the pixels, and its share."""
    from analyzers.methods.color_names import color_name

    shares = looks.colors.mean(axis=0).reshape(CELLS, CELLS, CELLS)
    names: dict[str, float] = {}
    for cell in np.argwhere(shares >= 0.02):
        lab: Any = cell * np.array([100 / 7, 120 / 7, 120 / 7]) + np.array([0, -60, -60])
        name = color_name(lab)
        names[name] = names.get(name, 0.0) + float(shares[tuple(cell)])
    return max(names.items(), key=lambda item: item[1]) if names else ("many colours", 0.0)
