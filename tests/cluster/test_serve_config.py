"""cluster/serve.yaml is what Serve takes, and its arguments are what the application takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from cluster.boot import SINGLE_THREAD
from pipeline.errors import UsageError
from pipeline.settings import load_settings
from serve_app.app import AppArgs, build

FILE = Path(__file__).resolve().parents[2] / "cluster" / "serve.yaml"


def test_the_file_is_a_serve_config_whose_arguments_are_settings() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    (application,) = config.applications
    assert application.import_path == "serve_app.app:build"
    args = AppArgs.model_validate(application.args)
    assert load_settings(args.config, **args.settings).ray.address == "auto"
    assert SINGLE_THREAD.items() <= application.runtime_env["env_vars"].items()
    assert config.http_options.request_timeout_s is None, "event streams last as long as their job"


def test_serve_turns_the_arguments_of_a_file_into_the_builders_own() -> None:
    application = call_user_app_builder_with_args_if_necessary(build, {"settings": {"serve": {"port": 8123}}})
    assert application._bound_deployment.name == "ingress"
    with pytest.raises(ValidationError, match="extra"):
        call_user_app_builder_with_args_if_necessary(build, {"setting": {}})


def test_the_builder_refuses_what_it_does_not_know_and_addresses_without_a_key() -> None:
    with pytest.raises(ValidationError, match="extra"):
        AppArgs.model_validate({"setting": {}})
    with pytest.raises(UsageError, match="key"):
        build(AppArgs(settings={"serve": {"host": "0.0.0.0"}}))
