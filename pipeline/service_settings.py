"""Settings of the service: how much it takes on, who may use it, and where it may fetch from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MIB: Final = 1024 * 1024
POST_HOSTS: Final = ["tiktok.com", "instagram.com", "youtube.com", "youtu.be"]
EXTRACTORS: Final = ["TikTok", "vm.tiktok", "Instagram", "youtube"]


class ServeSettings(BaseModel):
    """The HTTP service (`[serve]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="address to listen on; not a loopback one only with an API key")
    port: int = Field(default=8003, ge=1, le=65535, description="port to listen on")
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="names by which the service is called, beside localhost and `host`; other Host headers are refused",
    )
    dashboard: bool = Field(default=True, description="start Ray's dashboard (port 8265) beside a Ray that we start")
    # Lower: cores idle while one video ends. Higher: every video takes longer, and more is in memory.
    videos_in_flight: int = Field(default=4, ge=1, description="videos that are analyzed at once")
    fetches_in_flight: int = Field(default=4, ge=1, description="posts that are fetched at once")
    waiting_max: int = Field(default=100, ge=0, description="jobs that wait; one more is answered 503")
    pending_bytes_max: int = Field(
        default=16 * 1024 * MIB, description="media of jobs that have not ended, in bytes; more is answered 503"
    )
    retry_after_s: int = Field(default=5, ge=1, description="Retry-After of a 503")
    listeners_max: int = Field(default=256, description="event streams open at once; one more is answered 503")
    heartbeat_s: float = Field(default=15, gt=0, description="silence after which an event stream sends a comment")
    upload_s_max: float = Field(default=900, gt=0, description="time for one upload")
    upload_stall_s_max: float = Field(default=30, gt=0, description="longest pause within an upload")
    body_bytes_max: int = Field(default=64 * 1024, description="a JSON body")
    analyze_s_max: float = Field(
        default=600, gt=0, description="how long POST /analyze waits for a report; the job goes on"
    )
    drain_s: float = Field(
        default=30, ge=0, description="how long running jobs may go on after a stop; then they resume"
    )
    attempts_max: int = Field(default=3, ge=1, description="how often a job is begun that the service did not survive")


class StoreSettings(BaseModel):
    """Jobs, results and media (`[store]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL, sqlite or postgresql+psycopg; None is DATA_DIR/jobs.sqlite"
    )
    files_url: str | None = Field(
        default=None, description="fsspec URL of the folder for reports and media; None is DATA_DIR/files"
    )
    reports_kept_days: float = Field(default=90, gt=0, description="after that a job and its report are deleted")
    media_kept_days: float = Field(default=7, ge=0, description="after that an ended job's video is deleted")
    sweep_s: float = Field(default=600, gt=0, description="time between two looks for what is too old")


class FetchSettings(BaseModel):
    """Fetching posts (`[fetch]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: list[str] = Field(default=POST_HOSTS, description="post hosts with their subdomains, or name:port")
    extractors: list[str] = Field(default=EXTRACTORS, description="yt-dlp extractors that may answer, by name")
    plugins: list[Path] = Field(default_factory=list, description="folders with yt_dlp_plugins/")
    proxies: list[str] = Field(default_factory=list, description="proxies, taken in turn")
    host_proxies: dict[str, str] = Field(
        default_factory=dict, description="proxy by post host, before `proxies`; empty: none"
    )
    cookies: Path | None = Field(default=None, description="cookies.txt in Netscape's format")
    networks_allowed: list[str] = Field(
        default_factory=list, description="private networks that may be reached all the same, as 10.0.0.0/8"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of authorities that are trusted beside the system's"
    )
    bytes_max: int = Field(default=512 * MIB, description="size of a post's video")
    duration_s_max: float = Field(default=3600, description="length of a post's video in seconds")
    time_s_max: float = Field(default=180, description="time for one fetch")
    height_max: int = Field(default=1920, description="taller pictures are not fetched if there are smaller ones")
    memory_bytes_max: int = Field(default=2 * 1024 * MIB, description="address space of the fetching process")


class KeySettings(BaseModel):
    """One API key (`[access.keys.NAME]`). Only its hash is stored: `reelscope key` makes both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key, in hex")
    requests_per_minute: int = Field(default=600, ge=1)
    jobs_in_flight: int = Field(default=32, ge=1)
    video_seconds_per_day: float = Field(default=86_400, gt=0)


class AccessSettings(BaseModel):
    """Who may use the service (`[access]`). Without keys it serves loopback only, to everybody there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: dict[str, KeySettings] = Field(default_factory=dict, description="API keys by the name of their owner")
    cors_origins: list[str] = Field(default_factory=list, description="origins of other pages that may call; none")
    webhook_hosts: list[str] = Field(default_factory=list, description="hosts that webhooks may go to; none")
    webhook_secret: str | None = Field(
        default=None, description="signs webhooks: whsec_ and base64 (docs/client.md); without it there are none"
    )
