"""Imports point one way: scripts -> recipe -> deploy -> {data, models, utils} -> common; nothing imports a script."""

import ast

import pytest
from helpers import REPO

ALLOWED = {
    "common": {"common"},
    "data": {"data", "common"},
    "models": {"models", "common"},
    "utils": {"utils", "common"},
    "deploy": {"deploy", "data", "models", "utils", "common"},
    "recipe": {"recipe", "deploy", "data", "models", "utils", "common"},
}
OURS = {*ALLOWED, "ablate", "e4", "m11", "export_openvino", "predict"}


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_what_lies_below_it(package):
    files = sorted((REPO / package).rglob("*.py"))
    assert files
    for path in files:
        wrong = set(imported_packages(path)) & OURS - ALLOWED[package]
        assert not wrong, f"{path.relative_to(REPO)} imports {wrong}"


def modules_behind(path, seen=()):
    """Files of the project that importing the file `path` imports, from one to the next, without those imported in functions."""
    seen = {*seen, path}
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            for file in (REPO / f"{name.replace('.', '/')}.py", REPO / name.replace(".", "/") / "__init__.py"):
                if file.is_file() and file not in seen:
                    seen |= modules_behind(file, seen)
    return seen


@pytest.mark.parametrize("script", ["predict.py", "export_openvino.py", "recipe/submission.py"])
def test_predicting_and_exporting_do_not_import_training(script):
    training = {REPO / name for name in ("recipe/training.py", "utils/engine.py", "utils/optimizers.py", "data/batches.py")}
    assert training <= modules_behind(REPO / "m11.py")
    assert not training & modules_behind(REPO / script)
