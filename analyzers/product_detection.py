"""Says which goods and brands a video shows or names, with the evidence, and whether it says that it is advertising.

Goods are objects of object_detection whose label is something that is sold (`GOODS`), large enough to be what the shot
is about and not mere scenery. Brands are names of the lexicon in text_overlay's texts and in the transcript
(methods/brands.py, methods/lexicon.py); disclosures are the words of methods/disclosure.py there. Each finding carries
what was seen, read or heard, by which analyzer and when. It works with whichever of the three reports there are.

Full profile: an open-vocabulary detector (analyzers/models/open_vocabulary.py) looks for a list of goods in one picture
a second, beside all that. What it finds for two seconds, or once and certain, is evidence of its own; it does not add
to the certainty of object_detection, which looks at the same pictures. Its names come from the settings, never from the
video.

A brand that is named is not thereby advertised, and a video that discloses nothing is not thereby without payment:
`disclosure.present` says only whether words of a disclosure were found.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from analyzers.methods import brands, disclosure
from analyzers.methods.disclosure import Kind
from analyzers.methods.goods import QUERIES, group_of
from analyzers.methods.lexicon import tokens
from analyzers.methods.texts import Text, around, heard, read
from analyzers.models import open_vocabulary
from analyzers.models.hub import locate
from analyzers.models.tracking import Detection, suppress
from pipeline.analyzer import Analyzer, Options, Profile, ProfileName
from pipeline.errors import NotApplicable
from pipeline.results import Document, ModelInfo, Report, Score, Seconds, Segment, Summary, Upstream
from pipeline.types import NATIVE, AnalyzerSpec, FrameBatch

SOURCES: Final = ("object_detection", "text_overlay", "speech_transcription")

# fmt: off
GOODS: Final[dict[str, tuple[str, ...]]] = {
    "carried": ("backpack", "umbrella", "handbag", "tie", "suitcase", "bottle", "wine glass", "cup", "cell phone",
                "laptop", "remote", "keyboard", "mouse", "book", "clock", "vase", "scissors", "teddy bear",
                "hair drier", "toothbrush", "tennis racket", "skateboard", "surfboard", "snowboard", "skis", "frisbee",
                "sports ball", "kite", "baseball bat", "baseball glove", "knife", "fork", "spoon", "bowl"),
    "food": ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    "furnishing": ("tv", "microwave", "oven", "toaster", "refrigerator", "chair", "couch", "bed", "potted plant"),
    "vehicle": ("bicycle", "car", "motorcycle"),
}
"""COCO's labels that are goods for sale, by how they stand in a picture. Not: people, animals, street furniture, public
transport, aeroplanes and boats, sinks and toilets, and `dining table`, which the network sees in any flat thing."""
# fmt: on
AREA_MIN: Final = {"carried": 0.005, "food": 0.01, "furnishing": 0.1, "vehicle": 0.2}
"""Share of the picture from which a thing is more than scenery: a phone in a hand has 0.01 to 0.05 of it, a parked car
in a street scene below 0.1, one that the shot is about above 0.3. By reasoning, not fitted."""
GOODS_S_MIN: Final = 0.5
"""Two samples of the picture: a thing seen once is too often none."""
GOODS_SCORE_MIN: Final = 0.5
JOIN_S: Final = 2.0
"""Findings of one product or brand this near to each other are one segment."""
SEEN_SCORE_MIN, SEEN_ONCE_SCORE_MIN = 0.25, 0.4
"""Of the open-vocabulary detector: in two samples in a row, and in one alone. Its model card's threshold is 0.1, where
most of a long list of names is found somewhere; by reasoning, not measured."""
SEEN_AREA_MIN: Final = 0.005
"""Share of the picture, as of things that are carried."""
SEEN_MAX: Final = 50
"""Things of one picture, the most certain."""
PICTURES: Final = frozenset(("object_detection", "product_detection"))
"""Analyzers that look at the same pictures: not independent of each other."""
LABEL_S_MIN: Final = 0.8
"""A one-word label that is shorter on the screen is a word of a word-by-word caption."""


class Evidence(Document):
    """What one analyzer saw, read or heard, from `start` to `end`."""

    analyzer: str
    start: Seconds
    end: Seconds
    what: str


class ProductSegment(Segment):
    """A product or a brand while it is shown or named; the other of both is null. `score`: how sure that is."""

    product: str | None
    brand: str | None
    category: str
    evidence: list[Evidence]
    score: Score


class Named(Document):
    """One product or brand over the whole video: whether it is to be seen or read, whether it is spoken of."""

    name: str
    category: str
    first_s: Seconds
    time_s: Seconds
    shown: bool
    spoken: bool
    score: Score


class DisclosureEvidence(Evidence):
    """Words of a disclosure: of which kind, in which language, what they mean; `score` as read or heard."""

    words: str
    kind: Kind
    language: str
    meaning: str
    score: Score


class Disclosure(Document):
    """Whether the video says that it is advertising.

    `present`: words of a kind other than ``denied`` were found. `words` are those, as they stand there; `denials` say
    that nobody paid; `first_s` is when the first disclosure appears.
    """

    present: bool
    words: list[str]
    kinds: list[Kind]
    denials: list[str]
    first_s: Seconds | None
    evidence: list[DisclosureEvidence]


class ProductSummary(Summary):
    """Everything found, most time first, and the disclosure; `looked_at` names the reports that there were."""

    products: list[Named]
    brands: list[Named]
    disclosure: Disclosure
    looked_at: list[str]


class ProductReport(Report[ProductSegment, ProductSummary]):
    """One segment per product or brand and appearance."""


@dataclass
class Finding:
    """A product or brand at one place, before findings are joined."""

    kind: Literal["product", "brand"]
    name: str
    category: str
    score: float
    evidence: list[Evidence] = field(default_factory=list)


Query = Annotated[str, Field(min_length=2, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9 '-]*$")]


class ProductOptions(open_vocabulary.VocabularyOptions):
    """`model` of the full profile: an OWLv2 or a Grounding DINO; `queries`: names of the goods it looks for, in
    English; `score_min`: its least score, 0..1."""

    model: str = "owlv2_base"
    queries: Annotated[tuple[Query, ...], Field(min_length=1, max_length=64)] = tuple(
        name for names in QUERIES.values() for name in names
    )
    score_min: float = Field(default=SEEN_SCORE_MIN, ge=0, le=1)


@dataclass(frozen=True)
class ProductPart:
    """One chunk's pictures: when each is shown, in seconds, and what the open-vocabulary detector found there."""

    seen: tuple[tuple[float, float, tuple[Detection, ...]], ...]


class ProductDetection(Analyzer[ProductPart, ProductReport]):
    """Products, brands and disclosures from what others saw, read and heard, and under the full profile a look of its
    own."""

    spec: ClassVar[AnalyzerSpec] = AnalyzerSpec("product_detection", "1", None, after_if_ok=SOURCES, cpus=0.1)
    options_model = ProductOptions
    options: ProductOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Options) -> AnalyzerSpec:
        """Under the full profile also a picture a second, and a share of a GPU."""
        if profile != "full":
            return cls.spec
        assert isinstance(options, ProductOptions)
        return replace(
            cls.spec,
            needs=NATIVE,
            needs_optional=True,  # brands are spoken in files without a picture too
            gpu_gb=open_vocabulary.needed_gb(options),
            cpus=1.0,
            batch=16,
        )

    def load(self, device: str, profile: Profile) -> None:
        """Read the lexicons; under the full profile also the detector and its queries.

        Raises:
            ModelUnavailable: the detector's weights are not in the model store, or cannot be used.
        """
        brands.lexicon()
        if profile.name == "full":
            local = locate(profile.models_dir, self.options.model, self.spec.name)
            self._detector = open_vocabulary.open_detector(local, device, self.options, self.options.queries)
            self.model = self._detector.info
            return
        self.model = ModelInfo(id="reelscope/brand-and-disclosure-lexicon", revision=self.spec.version, backend="rules")

    def analyze(self, item: FrameBatch) -> ProductPart:
        """Look for goods in one chunk."""
        return self.analyze_many([item])[0]

    def analyze_many(self, items: Sequence[FrameBatch]) -> list[ProductPart]:  # type: ignore[override]
        """The same in the pictures of all chunks."""
        frames = [frame for item in items for frame in item.frames[item.lead_in :]]
        found = iter(self._detector(frames, self.options.score_min))
        parts = []
        for item in items:
            starts = [float(pts_s) for pts_s in item.pts_s[item.lead_in :]]
            ends = [*starts[1:], max(item.end_s, starts[-1])]
            parts.append(
                ProductPart(tuple((a, b, self._things(next(found))) for a, b in zip(starts, ends, strict=True)))
            )
        return parts

    def _things(self, found: open_vocabulary.Found) -> tuple[Detection, ...]:
        candidates = []
        for corners, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            x0, y0, x1, y1 = (float(value) for value in corners)
            if x1 > x0 and y1 > y0 and (x1 - x0) * (y1 - y0) >= SEEN_AREA_MIN:
                candidates.append(Detection(self._detector.names[label], float(score), (x0, y0, x1, y1)))
        return suppress(candidates[:SEEN_MAX])

    def summarize(self, parts: Sequence[ProductPart], upstream: Upstream) -> ProductReport:
        """Look through the reports.

        Raises:
            NotApplicable: none of the three is there, nor a picture.
        """
        there = [name for name in SOURCES if name in upstream] + [self.spec.name] * bool(parts)
        if not there:
            raise NotApplicable("there are no objects, no text and no speech to look at")
        texts = [*read(upstream["text_overlay"])] if "text_overlay" in upstream else []
        texts += heard(upstream["speech_transcription"]) if "speech_transcription" in upstream else []
        found = [*goods(upstream["object_detection"])] if "object_detection" in upstream else []
        found += [*seen(parts), *named(texts)]
        segments = joined(found)
        return ProductReport(
            segments=segments,
            summary=ProductSummary(
                products=listed(segments, "product"),
                brands=listed(segments, "brand"),
                disclosure=disclosed(texts),
                looked_at=there,
            ),
        )


# --- goods ------------------------------------------------------------------------------------------------------------


def goods(report: Any) -> Iterator[Finding]:
    """Stretches in which a thing that is sold is prominent."""
    groups = {label: group for group, labels in GOODS.items() for label in labels}
    seen: dict[str, list[tuple[float, float, float]]] = {}
    for segment in report.segments:
        best: dict[str, float] = {}
        for thing in segment.objects:
            x0, y0, x1, y1 = thing.box
            if thing.label in groups and (x1 - x0) * (y1 - y0) >= AREA_MIN[groups[thing.label]]:
                best[thing.label] = max(best.get(thing.label, 0.0), thing.score)
        for label, score in best.items():
            seen.setdefault(label, []).append((segment.start, segment.end, score))
    for label, samples in seen.items():
        for run in _runs(samples):
            score = statistics.median(score for _, _, score in run)
            if len(run) >= 2 and sum(b - a for a, b, _ in run) >= GOODS_S_MIN - 0.01 and score >= GOODS_SCORE_MIN:
                what = f"{label} seen, score {score:.2f}"
                evidence = Evidence(analyzer="object_detection", start=run[0][0], end=run[-1][1], what=what)
                yield Finding("product", label, groups[label], score, [evidence])


def seen(parts: Sequence[ProductPart]) -> Iterator[Finding]:
    """Stretches in which the open-vocabulary detector finds a thing: in two samples in a row, or certain in one."""
    samples: dict[str, list[tuple[float, float, float]]] = {}
    for start_s, end_s, things in (one for part in parts for one in part.seen):
        best: dict[str, float] = {}
        for thing in things:
            best[thing.label] = max(best.get(thing.label, 0.0), thing.score)
        for label, score in best.items():
            samples.setdefault(label, []).append((start_s, end_s, score))
    for label, shown in samples.items():
        for run in _runs(shown):
            score = statistics.median(score for _, _, score in run)
            if len(run) > 1 or score >= SEEN_ONCE_SCORE_MIN:
                what = f"{label} found by its name, score {score:.2f}"
                evidence = Evidence(analyzer=ProductDetection.spec.name, start=run[0][0], end=run[-1][1], what=what)
                yield Finding("product", label, group_of(label), score, [evidence])


def _runs(samples: Sequence[tuple[float, float, float]]) -> list[list[tuple[float, float, float]]]:
    runs: list[list[tuple[float, float, float]]] = []
    for sample in samples:
        if runs and sample[0] - runs[-1][-1][1] <= 1.0:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return runs


# --- text and speech --------------------------------------------------------------------------------------------------


def named(texts: Sequence[Text]) -> Iterator[Finding]:
    """Brands in texts."""
    context = brands.Context([(text.start, text.end, text.text) for text in texts])
    for text in texts:
        words = tokens(text.text)
        for hit in brands.find(words):
            begin, end = words[hit.first].start, words[hit.last].end
            start_s, end_s, score = text.when(begin, end)
            if not brands.certain(hit, words, context.near(start_s, end_s), sign=text.sign):
                continue
            what = around(text, begin, end)
            evidence = Evidence(analyzer=text.analyzer, start=start_s, end=end_s, what=what)
            yield Finding("brand", hit.brand.name, hit.brand.category, min(1.0, score * hit.quality), [evidence])


def disclosed(texts: Sequence[Text]) -> Disclosure:
    """All disclosures and denials in texts, by time."""
    found: list[DisclosureEvidence] = []
    keys = brands.lexicon()[1]
    for text in texts:
        words = tokens(text.text)
        for one in disclosure.find(text.text, spoken=text.analyzer == "speech_transcription", brand_keys=keys):
            start_s, end_s, score = text.when(words[one.first].start, words[one.last].end)
            label = one.entry.where == "label"
            if label and (text.sign or (text.analyzer == "text_overlay" and end_s - start_s < LABEL_S_MIN)):
                continue
            found.append(
                DisclosureEvidence(
                    analyzer=text.analyzer,
                    start=start_s,
                    end=end_s,
                    what=around(text, words[one.first].start, words[one.last].end),
                    words=one.shown,
                    kind=one.kind,
                    language=one.entry.language,
                    meaning=one.entry.meaning,
                    score=min(1.0, score * one.quality),
                )
            )
    found.sort(key=lambda one: (one.start, one.end, one.words))
    positive = [one for one in found if one.kind != "denied"]
    return Disclosure(
        present=bool(positive),
        words=list(dict.fromkeys(one.words for one in positive)),
        kinds=list(dict.fromkeys(one.kind for one in positive)),
        denials=list(dict.fromkeys(one.words for one in found if one.kind == "denied")),
        first_s=positive[0].start if positive else None,
        evidence=found,
    )


# --- the whole video --------------------------------------------------------------------------------------------------


def joined(found: Sequence[Finding]) -> list[ProductSegment]:
    """Findings of one thing that touch or nearly touch become one segment; independent analyzers add to the score."""
    by_name: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        by_name.setdefault((one.kind, one.name), []).append(one)
    segments = []
    for (kind, name), findings in by_name.items():
        findings.sort(key=lambda one: one.evidence[0].start)
        group: list[Finding] = []
        for one in findings:
            if group and one.evidence[0].start - max(g.evidence[0].end for g in group) > JOIN_S:
                segments.append(_segment(kind, name, group))
                group = []
            group.append(one)
        segments.append(_segment(kind, name, group))
    return sorted(segments, key=lambda s: (s.start, s.end, s.product or s.brand or ""))


def _segment(kind: str, name: str, group: Sequence[Finding]) -> ProductSegment:
    best: dict[str, float] = {}
    for one in group:
        source = "pictures" if one.evidence[0].analyzer in PICTURES else one.evidence[0].analyzer
        best[source] = max(best.get(source, 0.0), one.score)
    doubt = 1.0
    for score in best.values():
        doubt *= 1 - score
    return ProductSegment(
        start=min(one.evidence[0].start for one in group),
        end=max(one.evidence[0].end for one in group),
        product=name if kind == "product" else None,
        brand=name if kind == "brand" else None,
        category=group[0].category,
        evidence=[one.evidence[0] for one in group],
        score=1 - doubt,
    )


def listed(segments: Sequence[ProductSegment], kind: str) -> list[Named]:
    """Each product or brand once, most time first."""
    by_name: dict[str, list[ProductSegment]] = {}
    for segment in segments:
        name = segment.product if kind == "product" else segment.brand
        if name:
            by_name.setdefault(name, []).append(segment)
    found = []
    for name, group in by_name.items():
        sources = {evidence.analyzer for segment in group for evidence in segment.evidence}
        found.append(
            Named(
                name=name,
                category=group[0].category,
                first_s=group[0].start,
                time_s=sum(segment.end - segment.start for segment in group),
                shown=bool(sources - {"speech_transcription"}),
                spoken="speech_transcription" in sources,
                score=max(segment.score for segment in group),
            )
        )
    return sorted(found, key=lambda one: (-one.time_s, one.first_s, one.name))
