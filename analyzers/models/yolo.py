"""Ultralytics YOLO, sizes n to x of v8, 11 and 26: boxes of COCO's 80 classes, or people with 17 keypoints.

Jocher et al., Ultralytics YOLOv8 (2023), YOLO11 (2024), YOLO26 (2026); the networks are those of the library
`ultralytics`, the steps around them are its `YOLO.predict` with batches of our own: letterbox to 640 with the smallest
rectangle of multiples of 32, half precision on a GPU, NMS at 0.7 (YOLO26 has no need of it).

A folder holds either `config.json` (`{"architecture": "yolo11m", "names": [...]}`) and `model.safetensors`, or one
`NAME.pt` as it is published. A `.pt` is a pickle of objects: only its tensors, its class names and the name of its
architecture are read. Every class in it becomes an inert stand-in, a name from outside of torch.nn and ultralytics is
refused, and the network is built from the library's own description of that architecture, never from the file's.
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from analyzers.models.hub import LocalModel, ModelOptions, gpu_gb
from analyzers.models.torch_runtime import Runtime, require, runtime, unusable
from pipeline.errors import ModelUnavailable

Task = Literal["detect", "pose"]
Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

ARCHITECTURE: Final = re.compile(r"yolo(v8|11|26)([nsmlx])(-pose)?")
DESCRIPTIONS: Final = {"v8": "v8/yolov8", "11": "11/yolo11", "26": "26/yolo26"}
"""Below `cfg/models` of the library; `-pose` and `.yaml` follow."""
INPUT_PX: Final = 640
STRIDE: Final = 32
GREY: Final = 114
"""Of the letterbox's margins."""
NMS_IOU: Final = 0.7
CLASS_APART_PX: Final = 7680
"""Boxes of each class are moved so far that they overlap no other's; the library's number, for equal answers."""
BOXES_MAX: Final = 300
"""Per picture, as the library."""
KEYPOINTS: Final = 17
PIXELS_MAX: Final = 64 * 384 * 640
"""Of one call: 64 pictures of 9:16 or 16:9. More gains nothing on a data-centre GPU; memory grows with it."""
BYTES_PER_PIXEL: Final = 130
"""Of activations at width 1 in 16 bit, counted from shapes: where the most is alive (stage P2/4 of YOLO11, at 1/16 of
the pixels) 128 + 256 + 256 + 128 channels of 2 bytes are 96 bytes per pixel of the input; the rest is the input as
bytes and in 16 bit, the layers kept for the head, and cuDNN's workspace."""
WIDTHS: Final = {"n": 0.25, "s": 0.5, "m": 1.0, "l": 1.0, "x": 1.5}
NAME_CHARS_MAX: Final = 100

_HARMLESS: Final = ("ultralytics.", "torch.nn.modules.", "torch.nn.parameter.", "pathlib.", "numpy.", "types.Simple")
"""What published checkpoints name beside tensors; nothing of it is imported or called."""
_loading = threading.Lock()


@dataclass(frozen=True)
class Found:
    """What one picture shows, most certain first.

    Args:
        boxes: float32 [N, 4], x0, y0, x1, y1 in 0..1 of the picture.
        scores: float32 [N].
        classes: int64 [N], numbers of `Yolo.names`.
        keypoints: float32 [N, 17, 3], x, y in 0..1 of the picture and score; of a detector [N, 0, 3].
    """

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]
    keypoints: Floats


def needed_gb(options: ModelOptions) -> float:
    """GPU memory of a process with this model and its largest call, in GB."""
    match = ARCHITECTURE.search(Path(options.model).name)
    width = WIDTHS[match[2]] if match else 1.0
    return gpu_gb(options, PIXELS_MAX * BYTES_PER_PIXEL * max(width, 0.5) / 1e9)


class Yolo:
    """A network that is ready.

    Args:
        model: which files.
        device: ``cpu`` or ``cuda:0``.
        options: precision `auto` is float16 on a GPU, as in the library: bfloat16 holds coordinates to 2 px only.
        task: what the network must answer.

    Raises:
        ModelUnavailable: a library is missing; files are missing, damaged, of another network, or hold foreign objects.
    """

    def __init__(self, model: LocalModel, device: str, options: ModelOptions, task: Task) -> None:
        require("ultralytics")
        if device.startswith("cuda") and options.precision == "auto":
            options = options.model_copy(update={"precision": "float16"})
        self.setup: Runtime = runtime(device, options)
        library = _library()
        import torchvision  # noqa: F401  (NMS: imported here, and not by the first picture)

        tensors, names, architecture = _read(model)
        if (architecture[3] is not None) != (task == "pose"):
            raise unusable(model, f"{architecture[0]} is no network for {task}")
        self.names: tuple[str, ...] = names
        self.info = self.setup.info(model, f"ultralytics {library.__version__}")
        network = build(architecture[0], len(names))
        try:
            network.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            raise unusable(model, " ".join(str(error).split())) from error
        network = network.eval().fuse(verbose=False).to(self.setup.device, self.setup.dtype).requires_grad_(False)
        if self.setup.on_gpu:
            import torch

            network = network.to(memory_format=torch.channels_last)  # what half-precision convolutions are fastest in
        self._network = network

    def __call__(self, pictures: Sequence[Picture], score_min: float) -> list[Found]:
        """What each RGB picture [H, W, 3] shows from that score on; pictures of any sizes, in their order."""
        found: dict[int, Found] = {}
        for numbers, planes in batches(pictures):
            for number, rows in zip(numbers, self._ask(planes, score_min), strict=True):
                found[number] = _undone(rows, planes.shape[1:3], pictures[number].shape[:2])
        return [found[number] for number in range(len(pictures))]

    def _ask(self, planes: npt.NDArray[np.uint8], score_min: float) -> list[Floats]:
        """Rows x0, y0, x1, y1, score, class, keypoints of each letterboxed picture, in its pixels."""
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(planes).to(self.setup.device).permute(0, 3, 1, 2)
            layout = torch.channels_last if self.setup.on_gpu else torch.contiguous_format
            given = given.to(self.setup.dtype).contiguous(memory_format=layout).div_(255)
            answer = self._network(given)[0]
            if getattr(self._network, "end2end", False):
                return _chosen(answer, score_min)
            return _suppressed(answer, len(self.names), score_min)


def build(architecture: str, classes: int) -> Any:
    """The library's network of that name, randomly initialized, on torch's default device.

    Args:
        architecture: for example ``yolo11m-pose``.
        classes: how many it tells apart.
    """
    _library()
    from ultralytics.nn.tasks import DetectionModel, PoseModel

    match = _parsed(architecture)
    description = {**_description(match), "nc": classes}
    if match[3]:
        return PoseModel(description, data_kpt_shape=(KEYPOINTS, 3), verbose=False)
    return DetectionModel(description, verbose=False)


def _library() -> Any:
    """`ultralytics`, which else looks for the internet while it is imported, and prints."""
    import os

    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    return importlib.import_module("ultralytics")


def _parsed(architecture: str) -> re.Match[str]:
    match = ARCHITECTURE.fullmatch(architecture)
    if match is None:
        raise ValueError(f"{architecture!r} is none of yolov8, yolo11, yolo26 with a size of n, s, m, l, x")
    return match


def _description(match: re.Match[str]) -> dict[str, Any]:
    """The library's own description of the layers; never one that lies about in the working folder."""
    from ultralytics.utils import YAML

    file = Path(_library().__file__).parent / "cfg" / "models" / f"{DESCRIPTIONS[match[1]]}{match[3] or ''}.yaml"
    return {**YAML.load(file), "scale": match[2], "yaml_file": match[0]}


# --- files ------------------------------------------------------------------------------------------------------------


def _read(model: LocalModel) -> tuple[dict[str, Any], tuple[str, ...], re.Match[str]]:
    """Tensors by name, class names and architecture."""
    pickles = sorted(model.folder.glob("*.pt"))
    try:
        if (model.folder / "model.safetensors").is_file():
            tensors, names, architecture = _read_safetensors(model.folder)
        elif len(pickles) == 1:
            tensors, names, architecture = read_pickle(pickles[0])
        else:
            raise ValueError(f"there must be model.safetensors with config.json, or one .pt; {len(pickles)} are there")
        return tensors, names, _parsed(architecture)
    except ModelUnavailable:
        raise
    except Exception as error:  # whatever a damaged file makes of its reader
        raise unusable(model, f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def _read_safetensors(folder: Path) -> tuple[dict[str, Any], tuple[str, ...], str]:
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return load_file(folder / "model.safetensors"), _names(config["names"]), str(config["architecture"])


def _names(given: Any) -> tuple[str, ...]:
    """Class names from a list, or from a dict by number."""
    values = [given[number] for number in range(len(given))]
    if not values or any(not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX for name in values):
        raise ValueError(f"class names must be texts of 1 to {NAME_CHARS_MAX} characters")
    return tuple(values)


class StandIn:
    """Takes the place of any object in a pickle: keeps what it was made of and does nothing with it."""

    state: Any = None

    def __new__(cls, *_: Any) -> StandIn:
        """One without state."""
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def get(self, name: str) -> Any:
        """An attribute of the object that it stands for; None without."""
        return self.state.get(name) if isinstance(self.state, Mapping) else None


def read_pickle(path: Path) -> tuple[dict[str, Any], tuple[str, ...], str]:
    """Tensors (float32), class names and architecture of a published checkpoint; no code of it runs.

    Raises:
        ValueError: it names objects that have no place in a checkpoint, or is none.
    """
    import torch

    named = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    foreign = sorted(name for name in named if not name.startswith(_HARMLESS))
    if foreign:
        raise ValueError(f"{path.name} names {', '.join(foreign[:3])}, which no checkpoint needs: it is not opened")
    with _loading, torch.serialization.safe_globals([(StandIn, name) for name in named]):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(f"{path.name} holds more than tensors and plain objects: {error}") from error
    network = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(network, StandIn):
        raise ValueError(f"{path.name} holds no network")
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in _tensors(network, "")}
    described = network.get("yaml")
    stem = Path(str(described.get("yaml_file", ""))).stem if isinstance(described, dict) else ""
    architecture = next((name for name in (path.stem, stem) if ARCHITECTURE.fullmatch(name)), None)
    if architecture is None:
        raise ValueError(f"{path.name} does not say of which architecture it is: name it as that, e.g. yolo11m.pt")
    return tensors, _names(network.get("names")), architecture


def _tensors(module: StandIn, prefix: str) -> Iterator[tuple[str, Any]]:
    """What `state_dict` of the object would give."""
    passing = module.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers"):
        for name, value in (module.get(kind) or {}).items():
            if value is not None and not (kind == "_buffers" and name in passing):
                yield prefix + name, value
    for name, child in (module.get("_modules") or {}).items():
        if isinstance(child, StandIn):
            yield from _tensors(child, f"{prefix}{name}.")


# --- pictures ---------------------------------------------------------------------------------------------------------


def batches(pictures: Sequence[Picture]) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
    """Numbers of pictures, and these letterboxed as uint8 [N, H, W, 3]: each batch of one size, bounded in pixels."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for number, picture in enumerate(pictures):
        sizes.setdefault(fitted(*picture.shape[:2])[2], []).append(number)
    for (height, width), numbers in sizes.items():
        step = max(1, PIXELS_MAX // (height * width))
        for start in range(0, len(numbers), step):
            chosen = numbers[start : start + step]
            yield chosen, np.stack([letterbox(pictures[number]) for number in chosen])


def fitted(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """How a picture is fitted: its height and width then, the margin above and left, and the size with margins."""
    scale = min(INPUT_PX / height, INPUT_PX / width)
    tall, wide = max(round(height * scale), 1), max(round(width * scale), 1)
    down, across = (INPUT_PX - tall) % STRIDE, (INPUT_PX - wide) % STRIDE
    return (tall, wide), (round(down / 2 - 0.1), round(across / 2 - 0.1)), (tall + down, wide + across)


def letterbox(picture: Picture) -> Picture:
    """A picture [H, W, 3] with its longer side at 640 px, and grey margins up to multiples of 32."""
    import cv2

    (tall, wide), (top, left), (height, width) = fitted(*picture.shape[:2])
    if picture.shape[:2] != (tall, wide):
        picture = np.asarray(cv2.resize(picture, (wide, tall), interpolation=cv2.INTER_LINEAR), np.uint8)
    square = np.full((height, width, 3), GREY, np.uint8)
    square[top : top + tall, left : left + wide] = picture
    return square


def _undone(rows: Floats, given: tuple[int, ...], size: tuple[int, ...]) -> Found:
    """Rows in pixels of a letterboxed picture as coordinates in 0..1 of the picture itself, cut at its edges."""
    (tall, wide), (top, left), outer = fitted(size[0], size[1])
    assert outer == given
    joints = rows[:, 6:].reshape(len(rows), (rows.shape[1] - 6) // 3, 3)
    points = np.concatenate([rows[:, :4].reshape(-1, 2, 2), joints[:, :, :2]], axis=1)
    points = np.clip((points - (left, top)) / (wide, tall), 0.0, 1.0).astype(np.float32)
    return Found(
        boxes=points[:, :2].reshape(-1, 4),
        scores=rows[:, 4],
        classes=rows[:, 5].astype(np.int64),
        keypoints=np.concatenate([points[:, 2:], joints[:, :, 2:]], axis=2),
    )


def _chosen(answer: Any, score_min: float) -> list[Floats]:
    """Of an end-to-end network's answer [B, 300, 6 + K] the rows from a score on, as it sorted them."""
    rows = answer.float().cpu().numpy()
    return [picture[picture[:, 4] > score_min][:BOXES_MAX] for picture in rows]


def _suppressed(answer: Any, classes: int, score_min: float) -> list[Floats]:
    """Of an answer [B, 4 + classes + K, boxes] the best of overlapping boxes of one class, most certain first.

    Boxes below the score are dropped where the answer is; what is left is little and goes to the CPU in one transfer.
    """
    import torch
    from torchvision.ops import nms

    best, label = answer[:, 4 : 4 + classes].max(dim=1)
    picture, place = torch.nonzero(best > score_min, as_tuple=True)
    rows = answer[picture, :, place]
    columns = (rows[:, :4], best[picture, place, None], label[picture, place, None], rows[:, 4 + classes :])
    kept = torch.cat([column.float() for column in columns], dim=1).cpu()
    owner = picture.cpu()
    half = kept[:, 2:4] / 2
    kept[:, :4] = torch.cat([kept[:, :2] - half, kept[:, :2] + half], dim=1)
    found = []
    for number in range(len(answer)):
        mine = kept[owner == number]
        order = nms(mine[:, :4] + mine[:, 5:6] * CLASS_APART_PX, mine[:, 4], NMS_IOU)[:BOXES_MAX]
        found.append(mine[order].numpy())
    return found
