"""The whitelist of docs/architecture.md: which other packages each of ours may import.

import-linter (see pyproject.toml) holds the forbidden edges; it cannot say "these and no others", so this file does.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "speech": {"av", "jiwer", "msgspec", "numba", "numpy", "rapidfuzz", "scipy", "soxr"},
    "batcher": {"msgspec"},
    "engines": {
        "llvmlite", "msgspec", "numba", "numpy", "onnx", "onnxruntime", "platformdirs", "pooch", "sentencepiece",
        "speech", "yaml",
    },
    "protos": {"google", "grpc"},
    "server": {
        "batcher", "engines", "protos", "speech",
        "click", "google", "grpc", "grpc_health", "grpc_reflection", "msgspec", "numpy", "prometheus_client",
        "structlog", "threadpoolctl", "uvloop",
    },
    "client": {
        "protos", "speech",
        "av", "click", "google", "grpc", "grpc_health", "kaldiio", "matplotlib", "numpy", "pyarrow", "rich",
        "sounddevice",
    },
}  # fmt: skip


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The line and top-level name of each absolute import in `path`, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None, "an absolute import names its module"
            yield node.lineno, node.module.partition(".")[0]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_the_architecture_allows(package: str) -> None:
    allowed = ALLOWED[package] | sys.stdlib_module_names | {package}

    strangers = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in imported(path)
        if name not in allowed
    ]

    assert strangers == []


def test_tests_are_no_package_so_that_none_of_them_shadows_ours() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
