"""The names that packages give are all there, and importing a package is light."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ["agents", "agents.baselines", "agents.policies", "agents.sb3"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_known_to_type_checkers(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text())
    (shown,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {(part.module, alias.name) for part in shown.body for alias in part.names}
    assert sorted(name for _, name in typed) == sorted(module.__all__)
    for home, name in typed:
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
    with pytest.raises(ImportError, match="GruPP0"):
        exec(f"from {package} import GruPP0")


def test_importing_a_package_does_not_import_torch():
    code = f"import sys, {', '.join(PACKAGES)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
