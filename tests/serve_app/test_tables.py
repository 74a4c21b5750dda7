"""Tables on a terminal."""

from __future__ import annotations

from rich.console import Console

from pipeline.service_settings import AccessSettings, FetchSettings, StoreSettings
from pipeline.settings import Settings
from serve_app.tables import settings_table


def test_secrets_are_not_shown_with_the_settings() -> None:
    settings = Settings(
        access=AccessSettings(webhook_secret="hush"),
        fetch=FetchSettings(proxies=["http://me:hush@proxy.example:3128"]),
        store=StoreSettings(database_url="postgresql+psycopg://me:hush@db/jobs"),
    )
    console = Console(width=200)
    with console.capture() as captured:
        console.print(settings_table(settings))
    shown = captured.get()
    assert "hush" not in shown
    assert "proxy.example:3128" in shown
    assert "…@db/jobs" in shown
