"""What flows through the pipeline: views, frame batches, audio tracks and the spec of an analyzer.

All types are frozen and validated on construction; arrays are made read-only, as they are when they come out of
shared memory, so that an analyzer that writes to its input fails in a unit test and not on a cluster.
Time is in seconds from the container's presentation timestamps. Frame numbers do not exist here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
SAMPLE_RATE_HZ: Final = 16_000
GPU_CONTEXT_GB: Final = 0.5
"""What a process takes of a GPU before its first tensor, in GB: the CUDA context and the libraries' workspaces."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _read_only(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class View:
    """A sampling of the video that analyzers share. Views of the same sampling are equal, whatever their names.

    Args:
        name: what the view is called in plans and timings.
        fps: sampled frames per second of presentation time; None takes every frame.
        short_side: the shorter side in pixels; a smaller video is never enlarged.
        lead_in: how many frames of the chunk before are repeated at the start of each chunk but the first.
    """

    name: str = field(compare=False)
    fps: float | None
    short_side: int
    lead_in: int = 0

    def __post_init__(self) -> None:
        _require(bool(_NAME.match(self.name)), f"view name must match {_NAME.pattern}, got {self.name!r}")
        _require(self.fps is None or 0 < self.fps <= 240, f"fps must be in (0, 240] or None, got {self.fps}")
        _require(8 <= self.short_side <= 4320, f"short_side must be in 8..4320 px, got {self.short_side}")
        _require(0 <= self.lead_in <= 8, f"lead_in must be in 0..8 frames, got {self.lead_in}")


THUMB: Final = View("thumb", None, 27)
"""Every frame, 48x27 (27x48 upright): cut detectors."""
MOTION: Final = View("motion", 12, 224, lead_in=1)
"""12 fps, 224 px: camera motion and effects, which compare neighbours."""
SCAN: Final = View("scan", 4, 480)
"""4 fps, 480 px: objects, people, colour."""
READ: Final = View("read", 4, 720, lead_in=1)
"""4 fps, 720 px: on-screen text."""
NATIVE: Final = View("native", 1, 1080)
"""1 fps, at most 1080 px: quality at (nearly) the recorded resolution."""


@dataclass(frozen=True, slots=True)
class Audio:
    """Marks an analyzer that needs the sound: mono float32 at 16 kHz."""


AUDIO: Final = Audio()


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """One chunk, about a second, of one view of one video.

    Args:
        video_id: which video; analyzers see batches of many.
        view: the sampling.
        index: the chunk's number within this view, from 0.
        frames: uint8 [N, H, W, 3], RGB, upright, read-only, N >= 1.
        pts_s: float64 [N], presentation times, strictly increasing.
        last: whether the view ends with this chunk.
        end_s: where the chunk's responsibility ends: the first time of the next chunk, or the end of the video.
    """

    video_id: str
    view: View
    index: int
    frames: npt.NDArray[np.uint8]
    pts_s: npt.NDArray[np.float64]
    last: bool
    end_s: float

    def __post_init__(self) -> None:
        frames, pts_s = np.asarray(self.frames), np.asarray(self.pts_s, dtype=np.float64)
        _require(frames.dtype == np.uint8, f"frames must be uint8, got {frames.dtype}")
        _require(
            frames.ndim == 4 and frames.shape[3] == 3 and min(frames.shape) > 0,
            f"frames must be [N, H, W, 3] with N, H, W >= 1, got {list(frames.shape)}",
        )
        _require(pts_s.shape == (len(frames),), f"pts_s must be [{len(frames)}], got {list(pts_s.shape)}")
        _require(bool(np.all(np.diff(pts_s) > 0)), "pts_s must increase strictly")
        _require(self.index >= 0, f"index must be >= 0, got {self.index}")
        _require(self.end_s >= pts_s[-1], f"end_s must be >= the last time {pts_s[-1]}, got {self.end_s}")
        _require(len(frames) > self.lead_in, f"a chunk needs a frame of its own beside {self.lead_in} lead-in frames")
        object.__setattr__(self, "frames", _read_only(frames))
        object.__setattr__(self, "pts_s", _read_only(pts_s))

    @property
    def lead_in(self) -> int:
        """How many leading frames repeat the end of the chunk before; 0 in the first chunk."""
        return 0 if self.index == 0 else self.view.lead_in

    @property
    def start_s(self) -> float:
        """Where the chunk's responsibility starts: the time of its first frame that is not lead-in."""
        return float(self.pts_s[self.lead_in])

    @property
    def nbytes(self) -> int:
        """Size of the pixels in bytes."""
        return int(self.frames.nbytes)

    def __repr__(self) -> str:
        shape = "x".join(str(n) for n in self.frames.shape)
        return (
            f"FrameBatch({self.video_id!r}, {self.view.name}, index={self.index}, frames={shape}, "
            f"{self.start_s:.3f}..{self.end_s:.3f} s{', last' if self.last else ''})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class AudioTrack:
    """The sound of one video, or one part of it when the video is long.

    Args:
        video_id: which video.
        samples: float32 [T], mono, read-only; 1 is full scale of a channel, and a mix of loud channels exceeds it.
        sample_rate: in Hz.
        start_s: the presentation time of the first sample.
        index: the part's number, from 0.
        last: whether the sound ends with this part.
    """

    video_id: str
    samples: npt.NDArray[np.float32]
    sample_rate: int
    start_s: float
    index: int = 0
    last: bool = True

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        _require(samples.dtype == np.float32, f"samples must be float32, got {samples.dtype}")
        _require(samples.ndim == 1, f"samples must be [T], got {list(samples.shape)}")
        _require(self.sample_rate > 0, f"sample_rate must be > 0 Hz, got {self.sample_rate}")
        _require(self.index >= 0, f"index must be >= 0, got {self.index}")
        object.__setattr__(self, "samples", _read_only(samples))

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def end_s(self) -> float:
        """The time after the last sample."""
        return self.start_s + self.duration_s

    @property
    def nbytes(self) -> int:
        """Size of the samples in bytes."""
        return int(self.samples.nbytes)

    def __repr__(self) -> str:
        return (
            f"AudioTrack({self.video_id!r}, samples={len(self.samples)} at {self.sample_rate} Hz, "
            f"{self.start_s:.3f}..{self.end_s:.3f} s)"
        )


Item = FrameBatch | AudioTrack

ALL: Final = ("*",)
"""For `AnalyzerSpec.after_if_ok`: every other analyzer."""


@dataclass(frozen=True, slots=True)
class AnalyzerSpec:
    """What an analyzer needs and how it runs.

    Args:
        name: the key in the report.
        version: raised when the answer to the same input changes.
        needs: the view or the sound it reads; None for one that reads only other reports.
        after: analyzers whose reports it cannot do without; if one of them fails or is skipped, so is this.
        after_if_ok: analyzers it waits for and uses when they succeed; `ALL` for every other.
        gpu_gb: GPU memory of one worker in GB of 10^9 bytes, with `GPU_CONTEXT_GB`; 0 runs on the CPU.
        cpus: CPU share of one worker, scaled down by the plan on a small machine.
        replicas: workers of this analyzer; more than one for those that would be the last to finish.
        batch: how many items, of any videos, `analyze_many` gains from at once.
        timeout_s: wall-clock limit of one call.
        needs_optional: whether it reports from other reports alone where the source has no such picture or sound;
            `summarize` then gets no parts.
    """

    name: str
    version: str
    needs: View | Audio | None
    after: tuple[str, ...] = ()
    after_if_ok: tuple[str, ...] = field(default=())
    gpu_gb: float = 0.0
    cpus: float = 1.0
    replicas: int = 1
    batch: int = 1
    timeout_s: float = 60.0
    needs_optional: bool = False

    def __post_init__(self) -> None:
        _require(bool(_NAME.match(self.name)), f"analyzer name must match {_NAME.pattern}, got {self.name!r}")
        _require(bool(self.version), "version must not be empty")
        _require(self.gpu_gb >= 0, f"gpu_gb must be >= 0, got {self.gpu_gb}")
        _require(self.cpus > 0, f"cpus must be > 0, got {self.cpus}")
        _require(self.replicas >= 1, f"replicas must be >= 1, got {self.replicas}")
        _require(self.batch >= 1, f"batch must be >= 1, got {self.batch}")
        _require(self.timeout_s > 0, f"timeout_s must be > 0, got {self.timeout_s}")
        _require(self.name not in self.after + self.after_if_ok, f"{self.name} must not come after itself")
        _require(
            self.needs is not None or bool(self.after or self.after_if_ok),
            f"{self.name} needs a view, the sound, or the report of another analyzer",
        )
