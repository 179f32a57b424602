"""The campaign, with full marks."""

import pytest

from campaign import carry_out

pytestmark = pytest.mark.slow


def test_nothing_is_lost_hidden_executed_or_left(shop, tmp_path):
    assert carry_out(shop, tmp_path, seed=0, kills=20) == []
