"""What callers are shown of a job."""

from __future__ import annotations

from pathlib import PurePath

from pipeline.results import Status, VideoFacts
from serve_app.jobs.events import Feed
from serve_app.jobs.rows import Found
from serve_app.schemas import ENDED, AnalyzerState, Job, JobError, JobLinks


def as_job(found: Found, feed: Feed | None) -> Job:
    """The job now.

    Args:
        found: as stored.
        feed: what moves in it, if it is being worked on.
    """
    row = found.row
    video = None if row.video is None else VideoFacts.model_validate(row.video)
    fetched = feed.fetched if feed is not None else None
    if fetched is None and row.source_kind == "url" and row.ready:
        fetched = (row.media_bytes, row.media_bytes)
    done_bytes, all_bytes = fetched or (None, None)
    return Job.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "source_kind": row.source_kind,
            "source": PurePath(row.source).name if row.source_kind == "path" else row.source,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "position": found.position if row.state == "queued" else None,
            "fetched_bytes": done_bytes,
            "fetch_bytes": all_bytes,
            "duration_s": None if video is None else video.duration_s,
            "video": video,
            "wanted": row.wanted,
            "analyzers": _analyzers(found, feed, 0.0 if video is None else video.duration_s),
            "error": None if row.error_code is None else JobError(code=row.error_code, detail=row.error_detail or ""),
            "from_store": row.from_store,
            "based_on": row.based_on,
            "media_kept": row.media_name is not None or (row.source_kind == "path" and row.identity is not None),
            "attempts": row.attempts,
            "request_id": row.request_id,
            "links": links(row.id),
        }
    )


def as_it_was(job: Job, state: str) -> Job:
    """The job as an event of an earlier state must show it, so that nobody takes it for one that has ended."""
    update: dict[str, object] = {"state": state, "position": job.position if job.state == state else None}
    if state not in ENDED:
        update |= {"ended_at": None, "error": None}
    return job.model_copy(update=update)


def links(job_id: str) -> JobLinks:
    """Where to go from a job."""
    at = f"/v1/jobs/{job_id}"
    return JobLinks(self=at, events=f"{at}/events", result=f"{at}/result", media=f"{at}/media", page=f"/jobs/{job_id}")


def _analyzers(found: Found, feed: Feed | None, duration_s: float) -> dict[str, AnalyzerState]:
    names = set(found.statuses).union(found.row.names or ())
    return {name: _analyzer(found.statuses.get(name), feed, name, duration_s) for name in sorted(names)}


def _analyzer(status: str | None, feed: Feed | None, name: str, duration_s: float) -> AnalyzerState:
    if status is None:
        return AnalyzerState(done_s=feed.done_s(name) if feed is not None else 0.0)
    ended: dict[str, Status] = {"ok": "ok", "failed": "failed", "skipped": "skipped"}
    return AnalyzerState(done_s=duration_s if status == "ok" else 0.0, status=ended[status])
