"""The names that packages give are all there, and importing a package is light."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["agents", "agents.baselines", "agents.policies", "agents.sb3"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(ImportError, match="GruPP0"):
        exec(f"from {package} import GruPP0")


def test_importing_a_package_does_not_import_torch():
    code = f"import sys, {', '.join(PACKAGES)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
