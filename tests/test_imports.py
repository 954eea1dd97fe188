"""Imports point one way: scripts -> recipe -> deploy -> {data, models, utils} -> common; nothing imports a script."""

import ast

import pytest
from conftest import REPO

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
