"""Finds lines of text and reads them with EasyOCR's networks, many pictures and lines in one call.

Detection: CRAFT (Baek et al., Character Region Awareness for Text Detection, CVPR 2019) gives each pixel's probability
of lying in a character and between two; boxes of lines by EasyOCR's own post-processing. Reading: a CRNN with CTC
(Shi et al. 2015), EasyOCR's second generation, over grey lines 64 px high. Both architectures are the package's; its
`Reader` is not used, since it opens weights as pickles that may run code and reads one line at a time on a CPU.

What a picture or line gets as padding depends on it alone, never on what it is batched with, so answers do not either.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from analyzers.models.hub import CONTEXT_GB, LocalModel, ModelOptions, Precision
from analyzers.models.pp_ocr import Corners, Reading, join_lines
from analyzers.models.store import ModelStore
from pipeline.errors import ModelUnavailable
from pipeline.results import ModelInfo

MODEL: Final = "easyocr_english"
DETECTOR: Final = "craft_mlt_25k.pth"
ENGLISH: Final = "english_g2"
VERSION: Final = "1.7.2"

# Lower: thin letters under 30 px of 720 are lost. Higher: time is its square.
LOOK_PX: Final = 480
STRIDE_PX: Final = 32
ROWS_STEP_PX: Final = 128
"""Pictures are padded below to multiples of this, so that strips of other heights share a call."""
TEXT_MIN, LINK_MIN, LOW_TEXT = 0.7, 0.4, 0.4
"""Of CRAFT's maps, as EasyOCR sets them."""
SLOPE_MAX, MIDDLE_MAX, HEIGHT_MAX, GAP_MAX, MARGIN = 0.1, 0.5, 0.5, 0.5, 0.1
"""Of joining words to lines, as EasyOCR sets them."""
SIDE_MIN_PX: Final = 12
"""Smaller finds are specks (EasyOCR: 20 at the size of the picture)."""
LINE_PX: Final = 64
RATIO_MAX: Final = 32
"""Longer lines are squeezed to this many heights."""
PICTURES_MAX: Final = 8
LINES_MAX: Final = 64
CHUNKS: Final = 4
"""Chunks of 4 pictures in a batch: two full calls of the detector."""
PARAMETERS: Final = 20_790_790 + 3_782_371
ACTIVATIONS: Final = PICTURES_MAX * 864 * 480 * 64 * 4
"""Numbers at once, counted and not measured: CRAFT's first block has 64 channels at full size (864x480), and its input,
convolution, normalization and later half-size maps are about four of these."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_Key = TypeVar("_Key")


def gpu_gb(precision: Precision) -> float:
    """GPU memory of a process that holds both networks, in GB of 10^9 bytes."""
    width = 4 if precision == "float32" else 2
    return round((PARAMETERS + ACTIVATIONS) * width / 1e9 + CONTEXT_GB, 2)


class EasyOcr:
    """Both networks on their device.

    Args:
        models_dir: the model store.
        languages: EasyOCR's codes, of one script.
        device: ``cpu`` or ``cuda:0``.
        precision: of weights and activations.

    Raises:
        ModelUnavailable: the package or weights are not there or not the right ones, or there are none for a language.
    """

    look_px: int = LOOK_PX

    def __init__(self, models_dir: Path, languages: Sequence[str], device: str, precision: Precision) -> None:
        from analyzers.models.torch_runtime import require, runtime

        require("easyocr")
        setup = runtime(device, ModelOptions(model=MODEL, precision=precision))
        store = ModelStore(models_dir)
        name, known = _recognizer(languages)
        detector = store.path(MODEL, DETECTOR)
        recognizer = store.path(MODEL, f"{name}.pth") if name == ENGLISH else detector.with_name(f"{name}.pth")
        if not recognizer.is_file():
            raise ModelUnavailable(
                f"text_overlay: EasyOCR reads {', '.join(languages)} with {name}.pth, which no package has: put the "
                f"file of EasyOCR's release ({known['url']}) into {recognizer.parent}, or set [analyzers.text_overlay] "
                'engine = "rapidocr", which reads all Latin letters and Chinese'
            )
        from easyocr.craft import CRAFT
        from easyocr.model.vgg_model import Model

        self._setup = setup
        self._detector = _filled(CRAFT(), _tensors(store, detector), setup)
        characters = known["characters"]
        network = Model(input_channel=1, output_channel=256, hidden_size=256, num_class=len(characters) + 1)
        self._reader = _filled(network, _tensors(store, recognizer, known["md5sum"]), setup)
        self._characters = np.array(["", *characters], dtype=object)  # CTC's blank comes first
        self._others = [n for n, one in enumerate(characters, start=1) if one not in _alphabet(languages, known)]
        local = LocalModel(detector.parent, f"EasyOCR CRAFT, {name}", f"easyocr {VERSION}", "Apache-2.0")
        self.info: ModelInfo = setup.info(local, f"easyocr {importlib.metadata.version('easyocr')}")

    # --- finding ------------------------------------------------------------------------------------------------------

    def find(self, pictures: Sequence[Pixels], scales: Sequence[float]) -> list[list[Corners]]:
        """Boxes of lines in each RGB picture [H, W, 3], in its pixels, looked for at `scale` times its size."""
        small = [_scaled(picture, scale) for picture, scale in zip(pictures, scales, strict=True)]
        shapes = [_padded(one.shape[0], one.shape[1]) for one in small]
        found: list[list[Corners]] = [[] for _ in pictures]
        for numbers in _groups(shapes, PICTURES_MAX):
            maps = self._maps([small[n] for n in numbers], shapes[numbers[0]])
            for n, (text, link) in zip(numbers, maps, strict=True):
                found[n] = _lines(text, link, small[n].shape[:2], pictures[n].shape[:2])
        return found

    def _maps(self, pictures: Sequence[Pixels], shape: tuple[int, int]) -> Floats:
        """CRAFT's two maps of each picture, [N, 2, H / 2, W / 2]; the pictures are padded to `shape`."""
        import torch

        data = np.zeros((len(pictures), *shape, 3), np.float32)
        for one, picture in zip(data, pictures, strict=True):
            one[: picture.shape[0], : picture.shape[1]] = picture
        mean, spread = (np.array(values, np.float32) * 255 for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        planes = np.ascontiguousarray(((data - mean) / spread).transpose(0, 3, 1, 2))
        with torch.inference_mode():
            answer, _ = self._detector(torch.from_numpy(planes).to(self._setup.device, self._setup.dtype))
            return np.asarray(answer.float().cpu().numpy().transpose(0, 3, 1, 2), np.float32)

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, lines: Sequence[Pixels]) -> list[Reading]:
        """What each RGB crop [H, W, 3] of a line says; the score is the mean probability of its characters."""
        inputs = [_line_input(line) for line in lines]
        readings = [Reading("", 0.0)] * len(lines)
        for numbers in _groups([data.shape[1] for data in inputs], LINES_MAX):
            for n, steps in zip(numbers, self._steps(np.stack([inputs[n] for n in numbers])), strict=True):
                readings[n] = self._decoded(steps)
        return readings

    def _steps(self, data: Floats) -> Floats:
        """Probabilities [N, T, characters + 1] of lines [N, 64, W], without those of other languages."""
        import torch

        with torch.inference_mode():
            planes = torch.from_numpy(data[:, None]).to(self._setup.device, self._setup.dtype)
            steps = torch.softmax(self._reader(planes, None).float(), dim=2)
            steps[:, :, self._others] = 0
            return np.asarray((steps / steps.sum(dim=2, keepdim=True)).cpu().numpy(), np.float32)

    def _decoded(self, steps: Floats) -> Reading:
        """The best path through [T, characters + 1], repeats and blanks taken out."""
        best = steps.argmax(axis=1)
        kept = (best != 0) & np.concatenate([[True], best[1:] != best[:-1]])
        text = "".join(self._characters[best[kept]])
        return Reading(text.strip(), float(steps[kept, best[kept]].mean()) if kept.any() else 0.0)


def _groups(keys: Sequence[_Key], most: int) -> Iterator[list[int]]:
    """Numbers of equal keys together, at most so many at once."""
    for key in dict.fromkeys(keys):
        numbers = [n for n, other in enumerate(keys) if other == key]
        for start in range(0, len(numbers), most):
            yield numbers[start : start + most]


# --- pictures ---------------------------------------------------------------------------------------------------------


def _scaled(picture: Pixels, scale: float) -> Pixels:
    import cv2

    height, width = picture.shape[:2]
    size = (max(STRIDE_PX, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)


def _padded(height: int, width: int) -> tuple[int, int]:
    return -(-height // ROWS_STEP_PX) * ROWS_STEP_PX, -(-width // STRIDE_PX) * STRIDE_PX


def _lines(text: Floats, link: Floats, small: tuple[int, ...], full: tuple[int, ...]) -> list[Corners]:
    """Boxes in a picture of size `full` from the maps of its copy of size `small`."""
    from easyocr.craft_utils import getDetBoxes
    from easyocr.utils import group_text_box

    boxes, polygons, _ = getDetBoxes(text, link, TEXT_MIN, LINK_MIN, LOW_TEXT, False)
    corners = [np.asarray(box if poly is None else poly) * 2 for box, poly in zip(boxes, polygons, strict=True)]
    level, tilted = group_text_box(
        [box.astype(np.int32).reshape(-1) for box in corners], SLOPE_MAX, MIDDLE_MAX, HEIGHT_MAX, GAP_MAX, MARGIN, True
    )
    found = [(x0, y0, x1, y1) for x0, x1, y0, y1 in level]
    found += [(*np.min(box, axis=0), *np.max(box, axis=0)) for box in tilted]  # captions are level: upright boxes
    across, down = full[1] / small[1], full[0] / small[0]
    whole = [
        (
            max(0, int(x0 * across)),
            max(0, int(y0 * down)),
            min(full[1], int(np.ceil(x1 * across))),
            min(full[0], int(np.ceil(y1 * down))),
        )
        for x0, y0, x1, y1 in found
        if max(x1 - x0, y1 - y0) > SIDE_MIN_PX
    ]
    return join_lines([box for box in whole if box[2] - box[0] > 1 and box[3] - box[1] > 1])


def _line_input(line: Pixels) -> Floats:
    """An RGB crop as the reader wants it: grey, 64 px high, -1..1, its last column repeated to a multiple of 64."""
    import cv2

    grey = cv2.cvtColor(line, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    ratio = min(RATIO_MAX, max(width / height, 1 / LINE_PX))
    wide = max(1, int(LINE_PX * ratio))
    values = np.asarray(cv2.resize(grey, (wide, LINE_PX), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.pad(values / np.float32(127.5) - np.float32(1), ((0, 0), (0, -wide % LINE_PX)), mode="edge")


# --- weights ----------------------------------------------------------------------------------------------------------


def _recognizer(languages: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The recognizer for languages, and what EasyOCR's own table says of it; its first generation is left out."""
    from easyocr import config

    wanted = set(languages) - {"en"}
    unknown = wanted - set(config.all_lang_list)
    single = {"ch_sim": "zh_sim_g2", "ja": "japanese_g2", "ko": "korean_g2", "te": "telugu_g2", "kn": "kannada_g2"}
    if not wanted:
        name = ENGLISH
    elif wanted <= set(config.latin_lang_list):
        name = "latin_g2"
    elif wanted <= set(config.cyrillic_lang_list):
        name = "cyrillic_g2"
    elif len(wanted) == 1 and wanted <= set(single):
        name = single[wanted.pop()]
    else:
        why = f"it does not know {', '.join(sorted(unknown))}" if unknown else "no recognizer that we load reads all"
        raise ModelUnavailable(
            f"text_overlay: EasyOCR cannot read {', '.join(languages)}: {why}; set [analyzers.text_overlay] languages "
            'to languages of one script, or engine = "rapidocr"'
        )
    return name, config.recognition_models["gen2"][name]


def _alphabet(languages: Sequence[str], known: dict[str, Any]) -> set[str]:
    """The characters of these languages, as EasyOCR lists them, and signs."""
    import easyocr

    folder = Path(easyocr.__file__).with_name("character")
    letters = {
        line
        for language in languages
        for line in (folder / f"{language}_char.txt").read_text(encoding="utf-8-sig").splitlines()
    }
    return letters | set(known.get("symbols") or "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ")


def _tensors(store: ModelStore, path: Path, md5: str | None = None) -> dict[str, Any]:
    """The tensors of a file, if it is the manifest's or, for others, the one EasyOCR publishes; no code in it runs."""
    import torch

    data = path.read_bytes()
    listed = {file.path: file.sha256 for file in store.manifest.model(MODEL).files}.get(path.name)
    found = hashlib.sha256(data).hexdigest() if listed else hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != (listed or md5):
        raise ModelUnavailable(
            f"text_overlay: {path} is damaged (its sum is {found}, expected {listed or md5}); remove it and run "
            f"`reelscope models fetch --profile full {MODEL}`"
        )
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelUnavailable(f"text_overlay: {path} is no file of plain tensors: {error}") from error
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _filled(network: Any, tensors: dict[str, Any], setup: Any) -> Any:
    """The network with exactly these weights, on its device."""
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise ModelUnavailable(f"text_overlay: weights of another network: {str(error)[:200]}") from error
    return network.to(setup.device, setup.dtype).eval()
