"""The models that the settings ask for: which they are, fetching them, and whether all are there."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from analyzers.models.hub import named_in
from analyzers.models.hub_store import HubEntry, HubStore
from analyzers.models.store import Entry, ModelStore
from pipeline.errors import UsageError
from pipeline.registry import discover, options_of
from pipeline.settings import Settings
from serve_app.progress import transfer_progress

THERE = ("present", "local")


def chosen_hub_models(settings: Settings) -> set[str]:
    """Names of the hub models that the analyzers use in the full profile under these settings.

    Raises:
        UsageError: an analyzer's settings are wrong.
    """
    wanted = [cls for name, cls in discover().items() if name not in settings.disabled]
    return {model.name for cls in wanted for model in named_in(options_of(cls, settings))}


def fetch(settings: Settings, store: ModelStore, names: Sequence[str] | None, told: Console) -> list[str]:
    """Get models: those named, or what the settings use in their profile. Returns the names of those that came new.

    Args:
        settings: which profile, and which models the analyzers use.
        store: where to.
        names: models of the manifest, packaged ones or of the hub.
        told: where it says what is left out.

    Raises:
        UsageError: there is no model of that name.
        ModelUnavailable: some could not be had.
    """
    hub = HubStore(store.models_dir)
    packaged, of_hub = [model.name for model in store.manifest.models], {model.name for model in hub.manifest.hub}
    for name in names or ():
        if name not in of_hub and name not in packaged:
            raise UsageError(f"there is no model {name!r}; `reelscope models list` shows them")
    if names:
        wanted, wanted_of_hub = [name for name in names if name in packaged], [name for name in names if name in of_hub]
    else:
        profiles = ("embedded",) if settings.profile == "embedded" else ("embedded", "full")
        wanted = [model.name for model in store.manifest.models if model.profile in profiles]
        for name in wanted:
            if reason := store.out_of_reach(name):
                told.print(f"{name} is left out: {reason}")
        wanted = [name for name in wanted if not store.out_of_reach(name)]
        wanted_of_hub = sorted(chosen_hub_models(settings)) if settings.profile == "full" else []
    with transfer_progress("fetching") as on_progress:
        fetched = store.fetch(wanted, on_progress=on_progress)
        return fetched + hub.fetch(wanted_of_hub, on_progress=on_progress)


def all_there(settings: Settings, packaged: Sequence[Entry], hub: Sequence[HubEntry]) -> bool:
    """Whether nothing is damaged, and nothing is missing that the profile uses."""
    if any(entry.state == "damaged" for entry in packaged) or any(entry.state == "damaged" for entry in hub):
        return False
    profiles = ("embedded",) if settings.profile == "embedded" else ("embedded", "full")
    chosen = chosen_hub_models(settings) if settings.profile == "full" else set()
    return all(entry.state == "present" for entry in packaged if entry.model.profile in profiles) and all(
        entry.state in THERE for entry in hub if entry.model.name in chosen
    )
