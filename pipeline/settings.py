"""Every setting, in one typed place: defaults, then a TOML file, then `REELSCOPE_*` variables, then arguments.

A nested setting is `[limits] bytes_max = ...` in the file and `REELSCOPE_LIMITS__BYTES_MAX` in the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pipeline.analyzer import ProfileName
from pipeline.service_settings import AccessSettings, FetchSettings, ServeSettings, StoreSettings

MIB = 1024 * 1024


class Limits(BaseModel):
    """What a source may be. Each error names the setting that it exceeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes_max: int = Field(default=2 * 1024 * MIB, description="file size in bytes")
    duration_s_max: float = Field(default=4 * 3600, description="length in seconds")
    side_max: int = Field(default=8192, description="longer side of the coded picture in pixels")
    pixels_max: int = Field(default=8192 * 4320, description="width x height of the coded picture")
    fps_max: float = Field(default=240, description="mean frames per second")
    streams_max: int = Field(default=32, description="streams in the container")
    frames_max: int = Field(default=1_000_000, description="coded frames")
    decoded_pixels_max: int = Field(default=2_000_000_000_000, description="frames x width x height in all")
    # Lower: a slow disk looks like a hostile file. Higher: a hostile file holds a probe for longer.
    probe_s_max: float = Field(default=60, description="time for reading the file once, in seconds")
    # Lower: a busy machine looks like a stuck decoder. Higher: a stuck decoder holds a job for longer.
    decode_stall_s_max: float = Field(
        default=120, description="longest wait for the next chunk while there is room for it"
    )


class EngineSettings(BaseModel):
    """How much is in flight."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Lower: fast analyzers wait for slow ones. Higher: more decoded video lies in memory. 30 s of 1080x1920 is 760 MB.
    video_bytes_in_flight: int = Field(default=320 * MIB, description="decoded bytes not yet answered, per video")
    bytes_in_flight: int = Field(default=640 * MIB, description="decoded bytes not yet answered, over all videos")
    slots_per_worker: int = Field(default=2, description="calls at a worker: one working, the next already there")
    # A chunk that kills its worker this often in a row is taken to be the cause.
    sends_max: int = Field(
        default=3, description="how often one call is sent before its worker's deaths count against it"
    )


NO_WEIGHTS: Final = ["qwen2_vl_temporal", "video_llava", "blip2"]
TOGETHER: Final = [
    ["object_detection", "body_pose", "background_segmentation"],
    ["eye_tracking", "age_estimation", "composition_analysis"],
    ["camera_analysis", "visual_effects"],
    ["cut_analysis", "color_analysis", "content_quality", "scene_segmentation"],
    ["audio_analysis", "audio_environment", "sound_effects", "speech_emotion", "speech_flow"],
    ["speech_rate", "product_detection", "temporal_flow", "cross_analyzer_intelligence", *NO_WEIGHTS],
]
"""Analyzers that ask the same networks, and those that are too small for a process of 150 MB each."""
TOGETHER_ON_GPU: Final = [
    ["object_detection", "body_pose"],
    ["composition_analysis", "scene_segmentation"],
    ["audio_environment", "sound_effects"],
]
"""Small models of the full profile: the two YOLO networks, those that ask CLIP, those that ask the AudioSet tagger."""
COSTLY: Final = ["qwen2_vl_temporal", "video_llava", "blip2", "text_overlay", "speech_transcription"]
"""Those that would be the last to finish, the costliest first."""
LEAVE_OUT: Final = ["video_llava", "blip2", "background_segmentation", "product_detection", "speech_emotion"]
"""What the plan advises to leave out first where GPUs are too small: qwen2_vl_temporal describes too, and the others
are missed least for what they take."""


class RaySettings(BaseModel):
    """How a local Ray is started when none is running."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(default=None, description="an existing cluster; None starts Ray on this machine")
    # Must exceed engine.bytes_in_flight, or the store spills to disk.
    object_store_bytes: int = Field(default=1024 * MIB, description="shared memory for decoded chunks")
    # Lower: one video waits for its decoder. Higher: fewer videos are decoded at once; above 4 threads gain little.
    decode_cpus: float = Field(
        default=4.0, description="CPUs, and decoding threads, of each decode stream; at most a quarter of the machine"
    )
    # Lower: on a busy machine whoever hands out the work, and whoever asks the service, waits for those who do it.
    niceness: int = Field(
        default=15, ge=0, le=19, description="by how much analyzers and decoders yield the processor to everything else"
    )
    logical_gpus_gb: list[float] = Field(
        default_factory=list,
        description="GPUs of these sizes are counted although there are none, to try a plan; models run on the CPU",
    )
    # More in one process: less memory and a faster start. Fewer: more of them compute at once, and each dies alone.
    together: list[list[str]] = Field(
        default=TOGETHER, description="small analyzers that share a worker process; never those on a GPU or replicated"
    )
    # The CUDA context is paid once, and a network that two of them ask is there once; they compute one after another.
    together_on_gpu: list[list[str]] = Field(
        default=TOGETHER_ON_GPU, description="the same for analyzers with a model on a GPU; never those replicated"
    )
    replicate: list[str] = Field(
        default=COSTLY,
        description="with several GPUs: these get one more replica on each GPU where it fits, in this order",
    )


class PlanOverride(BaseModel):
    """What the plan takes for one analyzer instead of its spec (`[plan.NAME]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_gb: float | None = Field(default=None, ge=0, description="GPU memory of one worker in GB")
    replicas: int | None = Field(default=None, ge=1, description="workers, no more and no fewer")


class Settings(BaseSettings):
    """All settings of one run."""

    model_config = SettingsConfigDict(
        env_prefix="REELSCOPE_", env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    profile: ProfileName = "embedded"
    models_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_cache_dir("reelscope")) / "models")
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("reelscope")))
    limits: Limits = Limits()
    engine: EngineSettings = EngineSettings()
    ray: RaySettings = RaySettings()
    analyzers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="options by analyzer name")
    plan: dict[str, PlanOverride] = Field(default_factory=dict, description="GPU memory and replicas by analyzer name")
    disabled: list[str] = Field(default_factory=list, description="analyzers switched off in this deployment")
    media_roots: Annotated[list[Path], NoDecode] = Field(
        default_factory=list, description="folders below which the service may be told to read files by path"
    )
    serve: ServeSettings = ServeSettings()
    store: StoreSettings = StoreSettings()
    fetch: FetchSettings = FetchSettings()
    access: AccessSettings = AccessSettings()

    @field_validator("media_roots", mode="before")
    @classmethod
    def _as_in_path(cls, value: Any) -> Any:
        """In the environment the folders stand as in PATH, separated by colons."""
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, strongest first (pydantic-settings' hook)."""
        toml = TomlConfigSettingsSource(settings_cls, toml_file=settings_cls.model_config.get("toml_file"))
        return (init_settings, env_settings, toml)


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the effective settings.

    Args:
        config: a TOML file; None takes the one that `REELSCOPE_CONFIG` names, if any.
        overrides: settings by name that win over file and environment; None values are ignored.

    Raises:
        FileNotFoundError: `config` does not exist.
        pydantic.ValidationError: a value is wrong or a name unknown.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    named = os.environ.get("REELSCOPE_CONFIG")
    file = config or (Path(named) if named else None)
    if file is None:
        return Settings(**given)
    if not file.is_file():
        raise FileNotFoundError(f"there is no configuration file {file}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    return Settings.model_validate(FromFile(**given).model_dump())
