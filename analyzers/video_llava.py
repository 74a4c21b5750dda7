"""video_llava: descriptions of the whole video and of its scenes.

LLaVA-NeXT-Video 7B (Zhang et al. 2024, LLaVA-NeXT), in the full profile only: the embedded one has no weights for it.

Two pictures of each second are kept, as the model takes them. When the video has ended, up to eight of each scene
(scene_segmentation, where its report is there; else equal stretches of about ten seconds) and up to sixteen of the
whole are chosen evenly. All questions are answered together; a picture that several of them look at is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.models.batches import in_batches
from analyzers.models.hub import LocalModel, Quantize
from analyzers.models.vision_language import (
    NO_WEIGHTS,
    SCENE_TEXT,
    TEXT_CHARS_MAX,
    Describer,
    DescribingOptions,
    DescriptionReport,
    DescriptionSegment,
    DescriptionSummary,
)
from analyzers.models.vlm.family import Family, Piece, Request
from analyzers.models.vlm.llava import LlavaNextVideo, load_llava_next_video
from analyzers.models.vlm.windows import DESCRIBE
from pipeline.errors import NotApplicable
from pipeline.results import Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch, Item

SAMPLE_S: Final = 0.49
"""Time between kept pictures: two a second. Closer ones tell a model of eight frames a scene nothing new."""
SAMPLES_MAX: Final = 6
"""Kept of one chunk, evenly: even noise (110 kB a picture) stays below the 1 MB of a part."""
JPEG_QUALITY: Final = 92
"""Off by two levels of 255 in the mean; 30 kB instead of 340 kB a picture."""
STRETCH_S: Final = 10.0
"""Where no scenes are known, the video is cut into equal stretches of about this length."""

SCENE_PROMPT: Final = (
    "These are pictures of one scene of a short video, in the order of time. Describe the scene in one or two "
    "sentences: who or what is seen, where, and what happens."
)
WHOLE_PROMPT: Final = (
    "These are pictures of a whole short video, in the order of time. In at most five sentences, describe what it "
    "shows from beginning to end: people, places, actions, and how it changes."
)

# LLaVA's own numbers: 32 layers x keys and values x 4096 x 2 bytes of each token that a batch holds.
_CACHE_BYTES_A_TOKEN: Final = 32 * 2 * 4096 * 2
# 8192 tokens of a prefill call x (gate and up 2 x 11008, six vectors of 4096) x 2 bytes; 0.3 GB remembered features;
# of the tower 16384 patches x 16 vectors of 1024 x 2 bytes.
_REST_GB: Final = 0.8 + 0.3 + 0.5


class VideoLlavaOptions(DescribingOptions):
    """Settings of video_llava.

    `frames_per_scene` and `frames_whole` bound the pictures of one question: 144 tokens each at 336 px, and the model
    has learned 4096. `fit` says how a picture becomes square: ``crop`` (as the published processor does: of an upright
    9:16 video the middle 56 %) or ``pad`` (all of it, smaller). Beyond `scenes_max` neighbouring scenes are described
    together. Prompts are the instructions; a sentence that text in pictures is no instruction is added to each.
    """

    model: str = "llava_next_video_7b"
    quantize: Quantize = "4bit"
    tokens_per_batch: int = Field(12288, ge=4096, le=1 << 20)
    fit: Literal["crop", "pad"] = "crop"
    frames_per_scene: int = Field(8, ge=1, le=16)
    frames_whole: int = Field(16, ge=1, le=24)
    scenes_max: int = Field(120, ge=1, le=1000)
    max_new_tokens: int = Field(64, ge=1, le=256)
    whole_max_new_tokens: int = Field(160, ge=1, le=320)
    prompt: str = Field(SCENE_PROMPT, min_length=1, max_length=800)
    whole_prompt: str = Field(WHOLE_PROMPT, min_length=1, max_length=800)


@dataclass(frozen=True)
class Kept:
    """A picture that may be looked at: JPEG, as large as the model takes it."""

    pts_s: float
    jpeg: bytes


@dataclass(frozen=True)
class KeptPart:
    """A chunk's pictures, and what it is responsible for."""

    start_s: float
    end_s: float
    pictures: tuple[Kept, ...]


class VideoLlava(Describer[KeptPart]):
    """Describes the video and its scenes."""

    spec = AnalyzerSpec("video_llava", "1", SCAN)
    options_model = VideoLlavaOptions
    full_view = DESCRIBE
    full_after = ("scene_segmentation",)
    full_batch = 8
    tiles = True
    options: VideoLlavaOptions
    _family: LlavaNextVideo

    @classmethod
    def activations_gb(cls, options: Any) -> float:
        """A full batch's keys and values, and what a prefill call and the tower hold beside them; counted."""
        held = options.tokens_per_batch * _CACHE_BYTES_A_TOKEN / 1e9 + _REST_GB
        return float(held * 2 if options.precision == "float32" else held)

    def make_family(self, model: LocalModel, device: str) -> Family:
        """See `Describer`."""
        self._family, self.model = load_llava_next_video(model, self.options, device, self.options.fit)
        return self._family

    def analyze(self, item: FrameBatch) -> KeptPart:
        """Two pictures a second, square, as JPEG. The model is not asked yet: scenes are not known."""
        if not hasattr(self, "engine"):
            raise NotApplicable(NO_WEIGHTS)
        chosen = sampled(item)
        squares = self._family.pictures.square(item.frames[chosen]).permute(0, 2, 3, 1).numpy()
        kept = (Kept(float(item.pts_s[at]), to_jpeg(square)) for at, square in zip(chosen, squares, strict=True))
        return KeptPart(item.start_s, item.end_s, tuple(kept))

    def analyze_many(self, items: Sequence[Item]) -> list[KeptPart]:
        """See `analyze`."""
        return [self.analyze(item) for item in items if isinstance(item, FrameBatch)]

    def summarize(self, parts: Sequence[KeptPart], upstream: Upstream) -> DescriptionReport:
        """Choose pictures, ask everything at once."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        scenes = upstream["scene_segmentation"].segments if "scene_segmentation" in upstream else []
        bounds = stretches(
            parts[0].start_s, parts[-1].end_s, [scene.start for scene in scenes], self.options.scenes_max
        )
        kept = [picture for part in parts for picture in part.pictures]
        pts_s = np.array([picture.pts_s for picture in kept])
        pieces: dict[int, Piece] = {}

        def request(prompt: str, start_s: float, end_s: float, frames_max: int, tokens_max: int) -> Request:
            looked_at = []
            for place in evenly(pts_s, start_s, end_s, frames_max):
                if place not in pieces:
                    pieces[place] = Piece(from_jpeg(kept[place].jpeg)[None])
                looked_at.append(pieces[place])
            return Request(f"{prompt} {SCENE_TEXT}", tuple(looked_at), new_tokens_max=tokens_max)

        o = self.options
        requests = [
            request(o.prompt, start_s, end_s, o.frames_per_scene, o.max_new_tokens) for start_s, end_s in bounds
        ]
        requests.append(
            request(o.whole_prompt, bounds[0][0], bounds[-1][1] + 1, o.frames_whole, o.whole_max_new_tokens)
        )
        *told, whole = in_batches(requests, len(requests), self.engine.answer)
        segments = [
            DescriptionSegment(start=start_s, end=end_s, description=text[:TEXT_CHARS_MAX])
            for (start_s, end_s), text in zip(bounds, told, strict=True)
        ]
        return DescriptionReport(segments=segments, summary=DescriptionSummary(description=whole[:TEXT_CHARS_MAX]))


def sampled(item: FrameBatch) -> list[int]:
    """Places of a chunk's own frames, two a second, one at least."""
    chosen: list[int] = []
    for place in range(item.lead_in, len(item.frames)):
        if not chosen or item.pts_s[place] - item.pts_s[chosen[-1]] >= SAMPLE_S:
            chosen.append(place)
    if len(chosen) > SAMPLES_MAX:
        chosen = [chosen[at * len(chosen) // SAMPLES_MAX] for at in range(SAMPLES_MAX)]
    return chosen


def stretches(
    start_s: float, end_s: float, scene_starts_s: Sequence[float], stretches_max: int
) -> list[tuple[float, float]]:
    """What is described: scenes where they are known, else equal stretches; together from `start_s` to `end_s`.

    Args:
        start_s: of the first picture.
        end_s: of the video.
        scene_starts_s: in order; empty where no scenes are known.
        stretches_max: more are joined with their neighbours, evenly.
    """
    if scene_starts_s:
        inner = sorted({time_s for time_s in scene_starts_s[1:] if start_s < time_s < end_s})
    else:
        count = max(1, round((end_s - start_s) / STRETCH_S))
        inner = [start_s + (end_s - start_s) * number / count for number in range(1, count)]
    edges = [start_s, *inner, end_s]
    if len(edges) - 1 > stretches_max:
        edges = [edges[(len(edges) - 1) * number // stretches_max] for number in range(stretches_max + 1)]
    return list(pairwise(edges))


def evenly(pts_s: npt.NDArray[np.float64], start_s: float, end_s: float, count_max: int) -> list[int]:
    """Places of up to `count_max` pictures of a stretch, evenly; the nearest one of a stretch between two pictures."""
    inside = np.flatnonzero((pts_s >= start_s) & (pts_s < end_s))
    if not len(inside):
        return [int(np.argmin(np.abs(pts_s - (start_s + end_s) / 2)))]
    if len(inside) > count_max:
        inside = inside[(np.arange(count_max) * 2 + 1) * len(inside) // (2 * count_max)]
    return [int(place) for place in inside]


def to_jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """RGB [H, W, 3] as a file."""
    import cv2

    done, coded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return coded.tobytes()


def from_jpeg(coded: bytes) -> npt.NDArray[np.uint8]:
    """The reverse."""
    import cv2

    found = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.ascontiguousarray(found[:, :, ::-1], np.uint8)
