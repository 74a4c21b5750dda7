"""Synthetic speech by espeak-ng, whose shared library and voices come unpacked from a pinned wheel.

The library keeps global state and may not be loaded twice, so each call runs in a process of its own
(`python -m tests.media.speech_synth LIBRARY_FOLDER OUT.npy VOICE RATE PITCH RANGE < TEXT`).
API: espeak-ng/speak_lib.h (espeak_Initialize, espeak_SetSynthCallback, espeak_Synth).
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
POS_CHARACTER: Final = 1
CHARS_UTF8: Final = 1
RATE_PARAMETER: Final = 1
"""espeakRATE, in words per minute."""
PITCH_PARAMETER: Final = 3
RANGE_PARAMETER: Final = 4
"""espeakPITCH and espeakRANGE, 0..100; 50 is usual."""


def speak(
    text: str, voice: str = "de", rate_wpm: int = 150, pitch: int = 50, pitch_range: int = 50
) -> tuple[npt.NDArray[np.float32], int]:
    """Say a text: (samples [T] in -1..1, sample rate in Hz).

    Args:
        text: one or more sentences.
        voice: an espeak-ng voice, for example ``de`` or ``en-us``.
        rate_wpm: words per minute.
        pitch: 0..100, how high.
        pitch_range: 0 (monotone) to 100.

    Raises:
        RuntimeError: espeak-ng failed; its message is in the error.
    """
    from tests.media.packages import espeak_dir

    with tempfile.TemporaryDirectory() as work:
        out = Path(work, "speech.npy")
        done = subprocess.run(
            [sys.executable, "-m", "tests.media.speech_synth", str(espeak_dir()), str(out), voice,
             str(rate_wpm), str(pitch), str(pitch_range)],
            input=text.encode(), capture_output=True, cwd=Path(__file__).resolve().parents[2], timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"espeak-ng could not say {text!r}: {done.stderr.decode()[-300:]}")
        data = np.load(out)
    return data[1:].astype(np.float32) / 32768, int(data[0])


def _synthesize(folder: Path, voice: str, parameters: tuple[int, int, int], text: bytes) -> npt.NDArray[np.int32]:
    """[1 + T]: the sample rate, then 16 bit samples."""
    library: Any = ctypes.CDLL(str(folder / "libespeak-ng.so"))
    rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, str(folder).encode(), 0)
    if rate <= 0:
        raise RuntimeError(f"espeak_Initialize gave {rate}")
    pieces: list[npt.NDArray[np.int16]] = []

    def on_samples(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = prototype(on_samples)  # held until the end: C calls it
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice {voice}")
    for number, value in zip((RATE_PARAMETER, PITCH_PARAMETER, RANGE_PARAMETER), parameters, strict=True):
        library.espeak_SetParameter(number, value, 0)
    status = library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
    if status != 0:
        raise RuntimeError(f"espeak_Synth gave {status}")
    library.espeak_Synchronize()
    return np.concatenate([np.array([rate], np.int32), *(piece.astype(np.int32) for piece in pieces)])


if __name__ == "__main__":
    rate, height, width = (int(argument) for argument in sys.argv[4:7])
    np.save(sys.argv[2], _synthesize(Path(sys.argv[1]), sys.argv[3], (rate, height, width), sys.stdin.buffer.read()))
