"""The tests of a real GPU, on the stand-in of every TensorRT version: builder, certificate, sidecar, engine, threads.

They run in processes of their own, where the stand-in is imported instead of NVIDIA's packages.
"""

import re
import subprocess
import sys

import pytest

from tests.helpers.gpu_bundles import gather_bundles
from tests.helpers.paths import ROOT
from tests.tensorrt_bindings.standin import VERSIONS, standin_environment

# Fewer would mean that most of them skipped.
FEWEST_PASSED = 80


@pytest.fixture(scope="module")
def bundles(exported, quantized, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu-bundles")
    gather_bundles(folder, exported, quantized)
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tests_of_a_real_gpu_pass_on_the_standin(version, bundles, tmp_path):
    environment = standin_environment(
        version, EXPORT_SSL_GPU_BUNDLES=str(bundles), XDG_CACHE_HOME=str(tmp_path), PYTEST_ADDOPTS=""
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/gpu/test_gpu.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= FEWEST_PASSED, done.stdout[-2000:]
