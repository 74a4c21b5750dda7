"""Finds things in pictures by their names: OWLv2, or Grounding DINO, on a fixed list of names.

OWLv2: Minderer et al., Scaling Open-Vocabulary Object Detection, NeurIPS 2023; model card
google/owlv2-base-patch16-ensemble. Grounding DINO: Liu et al., ECCV 2024; model card IDEA-Research/grounding-dino-tiny.
The names are read once, while loading: their embeddings (OWLv2) or the words' features (Grounding DINO, whose picture
and text meet later) are kept. Scores are the networks' own sigmoids, which are not probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from analyzers.models.hub import LocalModel, ModelOptions, gpu_gb
from analyzers.models.torch_runtime import load_pretrained, load_processor, require, runtime, unusable

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

PROMPT: Final = "a photo of a {}"
"""What OWLv2 is asked with, as on its model card."""
DINO: Final = "dino"
PICTURES_MAX: Final = {"owlv2": 16, "grounding-dino": 4}
"""Of one call at most, by architecture."""
PICTURE_GB: Final = {"owlv2": 0.15, "grounding-dino": 0.8}
"""Of activations, counted from shapes. OWLv2 at 960 px in 16 bit: 3600 patches of 3072 and 768 channels a few times,
and 64 names. Grounding DINO at 800x1333 px in float32: 22,000 cells of 2048 channels (180 MB) and of 256 a dozen times,
and their attention to 256 words in four heads (90 MB)."""
TOKENS_MAX: Final = 256
"""Of Grounding DINO's text."""


@dataclass(frozen=True)
class Found:
    """What one picture shows, most certain first.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1 in 0..1 of the picture.
        scores: float32 [N].
        labels: int64 [N], numbers of the names that were asked for.
    """

    boxes: Floats
    scores: Floats
    labels: npt.NDArray[np.int64]


class VocabularyOptions(ModelOptions):
    """`batch_size`: pictures of one call at most. Fewer take less memory and keep a large GPU less busy."""

    batch_size: int = Field(16, ge=1, le=16)
    quantize: Literal["none"] = "none"


def needed_gb(options: VocabularyOptions) -> float:
    """GPU memory of a process with this model and its largest call, in GB."""
    kind = "grounding-dino" if DINO in options.model.lower() else "owlv2"
    return gpu_gb(options, min(options.batch_size, PICTURES_MAX[kind]) * PICTURE_GB[kind])


class OpenVocabulary:
    """A network that is ready to find some names; `open_detector` makes the right one.

    Args:
        model: which files.
        device: ``cpu`` or ``cuda:0``.
        options: precision, and pictures of one call.
        names: what to find.
    """

    kind: str
    auto: str
    """The precision that `auto` is on a GPU."""

    def __init__(self, model: LocalModel, device: str, options: VocabularyOptions, names: Sequence[str]) -> None:
        require("transformers")
        self._batch_size = options.batch_size
        if device.startswith("cuda") and options.precision == "auto":
            options = options.model_copy(update={"precision": self.auto})
        import transformers

        self._setup = runtime(device, options)
        self.names = tuple(names)
        self._open(model)
        self.info = self._setup.info(model, f"transformers {transformers.__version__}")

    def __call__(self, pictures: Sequence[Picture], score_min: float) -> list[Found]:
        """What each RGB picture [H, W, 3] shows from that score on; pictures of any sizes, in their order."""
        found: dict[int, Found] = {}
        for numbers in _alike(pictures, min(self._batch_size, PICTURES_MAX[self.kind])):
            answers = self._ask([pictures[number] for number in numbers])
            for number, (boxes, scores, labels) in zip(numbers, answers, strict=True):
                chosen = np.flatnonzero(scores > score_min)
                chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
                found[number] = Found(np.clip(boxes[chosen], 0.0, 1.0), scores[chosen], labels[chosen])
        return [found[number] for number in range(len(pictures))]

    def _open(self, model: LocalModel) -> None:
        raise NotImplementedError

    def _ask(self, pictures: Sequence[Picture]) -> Iterator[tuple[Floats, Floats, npt.NDArray[np.int64]]]:
        """Boxes in 0..1, scores and labels of all candidates in each of some pictures of one size."""
        raise NotImplementedError

    def _pixels(self, processor: Any, pictures: Sequence[Picture]) -> Any:
        import torch

        planes = [torch.tensor(picture).permute(2, 0, 1) for picture in pictures]
        return processor(
            images=planes, input_data_format="channels_first", device=self._setup.device, return_tensors="pt"
        )


class Owlv2(OpenVocabulary):
    """OWLv2: every patch of 16 px may be an object, whose embedding is compared with those of the names."""

    kind, auto = "owlv2", "float16"  # bfloat16 would hold coordinates to 1/256 only

    def _open(self, model: LocalModel) -> None:
        import torch
        import transformers

        processor = load_processor(transformers.Owlv2Processor, model)
        self._processor = processor.image_processor
        self._network = load_pretrained(transformers.Owlv2ForObjectDetection, model, self._setup)
        longest = self._network.config.text_config.max_position_embeddings
        words = processor.tokenizer(
            [PROMPT.format(name) for name in self.names],
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        ).to(self._setup.device)
        with torch.inference_mode():
            told = self._network.owlv2.get_text_features(
                input_ids=words["input_ids"], attention_mask=words["attention_mask"]
            ).pooler_output
            self._queries = told / torch.linalg.norm(told, dim=-1, keepdim=True)

    def _ask(self, pictures: Sequence[Picture]) -> Iterator[tuple[Floats, Floats, npt.NDArray[np.int64]]]:
        import torch

        network = self._network
        with torch.inference_mode():
            pixels = self._pixels(self._processor, pictures)["pixel_values"].to(self._setup.device, self._setup.dtype)
            cells = network.image_embedder(pixels)[0]
            features = cells.flatten(1, 2)
            logits = network.class_predictor(features, self._queries.expand(len(pixels), -1, -1))[0]
            best, labels = logits.float().max(dim=-1)
            boxes = network.box_predictor(features, cells).float()
            answers = [each.cpu().numpy() for each in (boxes, best.sigmoid(), labels)]
        height, width = pictures[0].shape[:2]
        across, down = max(height, width) / width, max(height, width) / height  # the picture is padded to a square
        for box, score, label in zip(*answers, strict=True):
            yield _corners(box) * np.array([across, down, across, down], np.float32), score, label


class GroundingDino(OpenVocabulary):
    """Grounding DINO: 900 candidates, each compared with every word of one text that lists the names."""

    kind, auto = "grounding-dino", "float32"  # its attention overflows in 16 bit; TF32 where the GPU has it

    def _open(self, model: LocalModel) -> None:
        import torch
        import transformers

        processor = load_processor(transformers.GroundingDinoProcessor, model)
        self._processor = processor.image_processor
        self._network = load_pretrained(
            transformers.GroundingDinoForObjectDetection, model, self._setup, attn_implementation="eager"
        )
        text = " ".join(f"{name.lower()}." for name in self.names)
        words = processor.tokenizer(text, return_token_type_ids=True, return_tensors="pt").to(self._setup.device)
        if words["input_ids"].shape[1] > TOKENS_MAX:
            raise unusable(
                model, f"the queries are {words['input_ids'].shape[1]} word pieces, {TOKENS_MAX} can be read"
            )
        self._words: dict[str, Any] = {name: words[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        tokens = self._words["input_ids"][0].tolist()
        (stop,) = processor.tokenizer.convert_tokens_to_ids(["."])
        owners, name = [-1] * len(tokens), 0  # the number of the name that a word piece belongs to
        for place, token in enumerate(tokens[1:-1], start=1):
            if token == stop:
                name += 1
            else:
                owners[place] = name
        self._owners = np.array(owners)
        if name != len(self.names):
            raise unusable(model, "its tokenizer does not keep the queries apart")
        self._keep_words(torch)

    def _keep_words(self, torch: Any) -> None:
        """Put what the language model says to the names in its place: it is the same for every picture."""
        outer = self._network.model
        kept: list[Any] = []
        hook = outer.text_backbone.register_forward_hook(lambda _module, _given, answer: kept.append(answer))
        blank = torch.zeros(1, 3, 512, 512, device=self._setup.device, dtype=self._setup.dtype)
        with torch.inference_mode():
            self._network(pixel_values=blank, **self._words)
        hook.remove()

        class Kept(torch.nn.Module):  # type: ignore[misc]
            def forward(self, words: Any, *_: Any, **__: Any) -> Any:
                answer = kept[0]
                hidden = answer.last_hidden_state if hasattr(answer, "last_hidden_state") else answer[0]
                return type(answer)(last_hidden_state=hidden.expand(len(words), -1, -1))

        outer.text_backbone = Kept()

    def _ask(self, pictures: Sequence[Picture]) -> Iterator[tuple[Floats, Floats, npt.NDArray[np.int64]]]:
        import torch

        with torch.inference_mode():
            given = self._pixels(self._processor, pictures)
            words = {name: value.expand(len(pictures), -1) for name, value in self._words.items()}
            answer = self._network(
                pixel_values=given["pixel_values"].to(self._setup.device, self._setup.dtype),
                pixel_mask=given["pixel_mask"].to(self._setup.device),
                **words,
            )
            shares = answer.logits[:, :, : len(self._owners)].float().sigmoid().cpu().numpy()
            boxes = answer.pred_boxes.float().cpu().numpy()
        named = np.flatnonzero(self._owners >= 0)
        for box, share in zip(boxes, shares, strict=True):
            best = named[share[:, named].argmax(axis=1)]
            yield _corners(box), share[np.arange(len(box)), best], self._owners[best].astype(np.int64)


def open_detector(model: LocalModel, device: str, options: VocabularyOptions, names: Sequence[str]) -> OpenVocabulary:
    """The detector whose files these are.

    Raises:
        ModelUnavailable: a library is missing; files are missing, damaged or of neither network.
    """
    try:
        kind = json.loads((model.folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise unusable(model, f"config.json: {error}") from error
    if kind == Owlv2.kind:
        return Owlv2(model, device, options, names)
    if kind == GroundingDino.kind:
        return GroundingDino(model, device, options, names)
    raise unusable(model, f"it is {kind!r}, and neither OWLv2 nor Grounding DINO")


def _alike(pictures: Sequence[Picture], most: int) -> Iterator[list[int]]:
    """Numbers of pictures of one size, so many at once: padding to each other's size would change answers."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        sizes.setdefault(picture.shape, []).append(number)
    for numbers in sizes.values():
        for start in range(0, len(numbers), most):
            yield numbers[start : start + most]


def _corners(boxes: Floats) -> Floats:
    """x0, y0, x1, y1 from middle x, y, width, height."""
    half = boxes[:, 2:] / 2
    return np.asarray(np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1), np.float32)
