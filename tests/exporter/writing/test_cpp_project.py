"""`export-ssl --emit-cpp`: a C++ project that builds by itself and classifies with the bundle in it."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from exporter.cli import app
from exporter.writing.cpp_project import write_cpp_project
from runtime.bundle.bundle import open_bundle
from runtime.bundle.layout import LICENCE_FILE
from runtime.engines.open_engine import load_engine
from runtime.images.reading import load_pixels
from tests.conftest import crops
from tests.helpers.command_lines import refused
from tests.helpers.cpp.build import BUILDS, TOGETHER, configure, locked, openvino_cmake, require_tools, run


def export(checkpoint, output, project):
    words = ["--model", "ssl_resnet18", "--weights", checkpoint, "--img-size", 64, "--output", output]
    return CliRunner().invoke(app, [str(word) for word in (*words, "--emit-cpp", project)])


@pytest.fixture(scope="module")
def project(exported, tmp_path_factory):
    """The written project, at the same place every time, so that its build is kept."""
    folder = tmp_path_factory.mktemp("emit")
    result = export(exported.checkpoint, folder / "bundle", folder / "project")
    assert result.exit_code == 0, result.output
    return folder / "project"


def test_the_project_holds_the_bundle_its_licence_and_the_librarys_source(project):
    bundle = open_bundle(project / "bundle")
    assert (project / LICENCE_FILE).read_bytes() == (project / "bundle" / LICENCE_FILE).read_bytes()
    assert bundle.manifest.licence.spdx in (project / LICENCE_FILE).read_text(encoding="utf-8")
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert bundle.manifest.licence.spdx in readme
    assert "cmake -S . -B build" in readme
    names = {path.name for path in project.iterdir()}
    assert {"CMakeLists.txt", "main.cpp", "image_file.cpp", "image_file.h", "resnet_engine", "bundle"} <= names
    assert (project / "resnet_engine/include/resnet_engine.h").is_file()


def alone():
    """CMake's variables for a project beside which no library is installed."""
    return {
        "OpenVINO_DIR": str(openvino_cmake()),
        "CMAKE_DISABLE_FIND_PACKAGE_ResnetEngine": "ON",
        # Not optimised: it is built to be run once.
        "CMAKE_BUILD_TYPE": "Debug",
        **TOGETHER,
    }


def test_the_project_builds_without_an_installed_library_and_classifies(project, tmp_path):
    require_tools()
    source, build = BUILDS / "emitted", BUILDS / "emitted-build"
    with locked():
        # Copies keep the sources' times: what has not changed is not built again.
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(project, source)
        configure(source, build, alone())
    crops()[0].save(tmp_path / "picture.png")
    lines = run(str(build / "classify"), str(source / "bundle"), str(tmp_path / "picture.png")).splitlines()
    bundle = open_bundle(project / "bundle")
    with load_engine(bundle, "openvino") as engine:
        pixels = load_pixels(tmp_path / "picture.png", bundle.manifest.preprocessing)
        best = int(np.argmax(engine.infer(pixels[None]).logits[0]))
    assert lines[0] == str(tmp_path / "picture.png")
    assert lines[1].endswith(f"  {best}  {bundle.labels()[best]}")


def test_without_a_classifier_the_project_embeds_a_folder(backbone, tmp_path):
    write_cpp_project(backbone.fp32, tmp_path / "project")
    readme = (tmp_path / "project/README.md").read_text(encoding="utf-8")
    assert "build/embed bundle FOLDER OUT.npy" in readme
    assert "classif" not in readme
    require_tools()
    source, build = BUILDS / "emitted-embed", BUILDS / "emitted-embed-build"
    with locked():
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(tmp_path / "project", source)
        configure(source, build, alone())
    (tmp_path / "pictures").mkdir()
    crops()[0].save(tmp_path / "pictures/picture.png")
    run(str(build / "embed"), str(source / "bundle"), str(tmp_path / "pictures"), str(tmp_path / "out.npy"))
    bundle = open_bundle(backbone.fp32)
    with load_engine(bundle, "openvino") as engine:
        pixels = load_pixels(tmp_path / "pictures/picture.png", bundle.manifest.preprocessing)
        expected = engine.infer(pixels[None]).embedding
    # Threads sum in another order.
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5 * np.abs(expected).max())


def test_an_existing_folder_is_refused_before_the_export(exported, tmp_path):
    (tmp_path / "taken").mkdir()
    refused(export(exported.checkpoint, tmp_path / "bundle", tmp_path / "taken"), "taken", "--emit-cpp")
    refused(export(exported.checkpoint, tmp_path / "bundle", tmp_path / "absent/project"), "absent")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(export(exported.checkpoint, tmp_path / "bundle", tmp_path / "link"), "link")
    assert not (tmp_path / "bundle").exists()
    assert list((tmp_path / "taken").iterdir()) == []
