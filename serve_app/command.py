"""What all commands share: exit codes, options, settings, and errors as one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pipeline.settings import Settings

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_PARTIAL, EXIT_STOPPED = 0, 1, 2, 3, 130
errors = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file with settings")]
ModelsDirOption = Annotated[Path | None, typer.Option("--models-dir", help="the model store")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="embedded or full")]
DebugOption = Annotated[bool, typer.Option("--debug", help="show the trace of an error")]
KeyFileOption = Annotated[
    Path | None, typer.Option("--api-key-file", help="holds the server's API key; default REELSCOPE_API_KEY")
]


def guarded(debug: bool, run: Callable[[], int]) -> None:
    """Run a command and end the process: with its exit code, or with an error of one line and the code of that."""
    from pipeline.errors import ReelscopeError, UsageError

    try:
        code = run()
    except ReelscopeError as error:
        if debug:
            raise
        errors.print(f"reelscope: {error}", markup=False)
        code = EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        errors.print("reelscope: stopped")
        code = EXIT_STOPPED
    raise typer.Exit(code)


def usage(message: str) -> Exception:
    """The error of a wrong command line: one line that says what was wrong and what to do."""
    from pipeline.errors import UsageError

    return UsageError(message)


def names_in(text: str | None) -> list[str] | None:
    """The names in an option that takes several, separated by commas; None where it was not given."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def effective_settings(config: Path | None, **overrides: Any) -> Settings:
    """Settings of a file, the environment and of options; those that are None were not given.

    Raises:
        UsageError: there is no such file, or a value is wrong.
    """
    from pydantic import ValidationError

    from pipeline.settings import load_settings

    try:
        return load_settings(config, **overrides)
    except FileNotFoundError as error:
        raise usage(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise usage(f"setting {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
