"""A worker of Ray on other hardware than the job's is refused: its last bits would be others."""

import pytest

from runtime.embed.ray_worker import _check_hardware
from runtime.errors import EngineError


def test_a_node_with_another_processor_is_refused_and_one_with_the_same_is_not() -> None:
    _check_hardware("x86_64: fma, avx2", "x86_64: fma, avx2")
    with pytest.raises(
        EngineError,
        match=r"node \S+ computes on x86_64: fma, avx2, but the job on aarch64: asimdhp, .*nodes of one kind",
    ):
        _check_hardware("aarch64: asimdhp", "x86_64: fma, avx2")
