"""One workshop for all tests of this room."""

import pytest
import torch

from workshop import Workshop


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Tiny runs of everything; do not write to them."""
    torch.set_num_threads(1)
    made = Workshop(tmp_path_factory.mktemp("workshop"))
    made.make()
    return made
