"""blip2: a caption per segment.

BLIP-2 with OPT 2.7B (Li et al. 2023, arXiv:2301.12597), in the full profile only: the embedded one has no weights.

One picture from the middle of each chunk, about a second, is captioned; chunks of any videos together. A picture like
the one of the chunk before has that one's caption. BLIP-2 continues a caption and cannot summarize: the description of
the whole is the list of its distinct captions in the order in which they first appear, each with its share of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.models.hub import LocalModel, Quantize
from analyzers.models.vision_language import (
    NO_WEIGHTS,
    TEXT_CHARS_MAX,
    Describer,
    DescribingOptions,
    DescriptionReport,
    DescriptionSegment,
    DescriptionSummary,
)
from analyzers.models.vlm.blip2 import load_blip2
from analyzers.models.vlm.family import Family, Piece, Request
from analyzers.models.vlm.windows import DESCRIBE
from pipeline.errors import NotApplicable
from pipeline.results import Upstream
from pipeline.types import SCAN, AnalyzerSpec, FrameBatch, Item

THUMB_CELLS: Final = 16
"""Cells of a side of the thumb that tells whether two pictures are alike."""
ALIKE_MAX: Final = 10
"""Levels of 255 by which no cell may differ: more than noise and compression make, less than a moved hand."""
RENEWED: Final = 8
"""Every eighth chunk is captioned whatever the one before: a slow change never goes without words for longer."""
LISTED_MAX: Final = 12
"""Captions in the description of the whole: those with the largest shares."""

# OPT 2.7B: 32 layers x keys and values x 2560 x 2 bytes of each token; 32 places of a picture and a beginning.
_CACHE_BYTES_A_TOKEN: Final = 32 * 2 * 2560 * 2
_PLACES: Final = 33
_CHARS_A_TOKEN: Final = 3
# ViT-g of each patch in a call: six vectors of 1408, two of 6144, 2 bytes; and 0.4 GB for the Q-Former in float32 and
# remembered features.
_TOWER_BYTES_A_PATCH: Final = (6 * 1408 + 2 * 6144) * 2
_REST_GB: Final = 0.4
# Tower and Q-Former, 1.1 G parameters, stay in 16 bit; `hub.gpu_gb` counts them as quantized.
_KEPT_WHOLE_GB: Final[dict[Quantize, float]] = {"none": 0.0, "8bit": 0.85, "4bit": 1.4}


class Blip2Options(DescribingOptions):
    """Settings of blip2. `prompt` is the beginning that captions continue, for example ``a photo of``; often empty."""

    model: str = "blip2_opt_2_7b"
    tokens_per_batch: int = Field(16384, ge=512, le=1 << 20)
    prompt: str = Field("", max_length=200)
    max_new_tokens: int = Field(30, ge=1, le=64)


@dataclass(frozen=True)
class CaptionPart:
    """What is said about a chunk.

    Args:
        index: the chunk's number.
        start_s: where its responsibility starts.
        end_s: where it ends.
        thumb: uint8 [16, 16, 3], a coarse look at the captioned picture.
        text: the caption; None where the picture is like the one before, whose caption holds.
    """

    index: int
    start_s: float
    end_s: float
    thumb: npt.NDArray[np.uint8]
    text: str | None


class Blip2(Describer[CaptionPart]):
    """Captions one picture of each chunk."""

    spec = AnalyzerSpec("blip2", "1", SCAN)
    options_model = Blip2Options
    full_view = DESCRIBE
    full_batch = 64
    tiles = True
    options: Blip2Options

    @classmethod
    def activations_gb(cls, options: Any) -> float:
        """Keys and values of a full call of chunks, and what the tower holds for one; counted."""
        tokens = cls.full_batch * (_PLACES + len(options.prompt) // _CHARS_A_TOKEN + options.max_new_tokens)
        cache = min(tokens, options.tokens_per_batch) * _CACHE_BYTES_A_TOKEN
        tower = options.tokens_per_batch * _TOWER_BYTES_A_PATCH
        held = (cache + tower) / 1e9 + _REST_GB + _KEPT_WHOLE_GB[options.quantize]
        return float(held * 2 if options.precision == "float32" else held)

    def make_family(self, model: LocalModel, device: str) -> Family:
        """See `Describer`."""
        family, self.model = load_blip2(model, self.options, device)
        return family

    def analyze(self, item: FrameBatch) -> CaptionPart:
        """See `analyze_many`."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[Item]) -> list[CaptionPart]:
        """Captions of all chunks in batches. Skipped is only what `summarize` will not ask for, whatever the batch."""
        if not hasattr(self, "engine"):
            raise NotApplicable(NO_WEIGHTS)
        chunks = [item for item in items if isinstance(item, FrameBatch)]
        pictures = [middle(chunk) for chunk in chunks]
        thumbs = [thumb_of(picture) for picture in pictures]
        here = {(chunk.video_id, chunk.index): thumb for chunk, thumb in zip(chunks, thumbs, strict=True)}
        asked = [
            place
            for place, chunk in enumerate(chunks)
            if not goes_on(chunk.index, here.get((chunk.video_id, chunk.index - 1)), thumbs[place])
        ]
        requests = [
            Request(self.options.prompt, (Piece(pictures[place][None]),), new_tokens_max=self.options.max_new_tokens)
            for place in asked
        ]
        texts = dict(zip(asked, self.engine.answer(requests), strict=True))
        return [
            CaptionPart(chunk.index, chunk.start_s, chunk.end_s, thumbs[place], self._caption(texts.get(place)))
            for place, chunk in enumerate(chunks)
        ]

    def summarize(self, parts: Sequence[CaptionPart], upstream: Upstream) -> DescriptionReport:
        """The captions in order, those of pictures that go on taken from the one before, and the list of them."""
        if not parts:
            raise NotApplicable("no picture was decoded")
        segments: list[DescriptionSegment] = []
        before: CaptionPart | None = None
        said = ""
        for part in parts:
            known = before is not None and before.index == part.index - 1
            if not goes_on(part.index, before.thumb if before is not None and known else None, part.thumb):
                assert part.text is not None, "a picture that does not go on was not captioned"
                said = part.text
            segments.append(DescriptionSegment(start=part.start_s, end=part.end_s, description=said))
            before = part
        return DescriptionReport(segments=segments, summary=DescriptionSummary(description=listed(segments)))

    def _caption(self, text: str | None) -> str | None:
        """With the beginning that it continues."""
        return None if text is None else f"{self.options.prompt} {text}".strip()[:TEXT_CHARS_MAX]


def middle(chunk: FrameBatch) -> npt.NDArray[np.uint8]:
    """The chunk's own frame nearest to the middle of its time."""
    own = chunk.pts_s[chunk.lead_in :]
    nearest = int(np.argmin(np.abs(own - (chunk.start_s + chunk.end_s) / 2)))
    return np.asarray(chunk.frames[chunk.lead_in + nearest], np.uint8)


def thumb_of(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Mean colours of 16 x 16 cells."""
    import cv2

    small = cv2.resize(picture, (THUMB_CELLS, THUMB_CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def goes_on(index: int, before: npt.NDArray[np.uint8] | None, thumb: npt.NDArray[np.uint8]) -> bool:
    """Whether a chunk's picture is like the one of the chunk before, so that its caption holds."""
    if before is None or index % RENEWED == 0:
        return False
    return int(np.abs(before.astype(np.int16) - thumb).max()) <= ALIKE_MAX


def listed(segments: Sequence[DescriptionSegment]) -> str:
    """Distinct captions in the order of their first appearance, with their shares of the time in percent."""
    lengths: dict[str, float] = {}
    for segment in segments:
        lengths[segment.description] = lengths.get(segment.description, 0.0) + segment.end - segment.start
    whole_s = sum(lengths.values())
    largest = sorted(lengths, key=lambda text: -lengths[text])[:LISTED_MAX]

    def share(texts: Sequence[str]) -> str:
        part = sum(lengths[text] for text in texts) / whole_s if whole_s > 0 else len(texts) / len(lengths)
        return f"{100 * part:.0f} %"

    parts = [f"{text} ({share([text])})" for text in lengths if text in largest and text]
    rest = [text for text in lengths if text not in largest]
    if rest:
        parts.append(f"{len(rest)} others ({share(rest)})")
    return "; ".join(parts)[:TEXT_CHARS_MAX]
