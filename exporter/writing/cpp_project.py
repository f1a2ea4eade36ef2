"""A C++ project that runs a bundle on pictures: `export-ssl --emit-cpp DIR`.

    CMakeLists.txt, main.cpp, image_file.*   the `classify` example, or `embed` for a network without a classifier
    resnet_engine/                           the library's source, used where it is not installed
    bundle/                                  the bundle
    LICENSE-WEIGHTS.txt, README.md           the weights' licence, and how to build

Everything that the project needs but a compiler, CMake, libjpeg, libpng, nlohmann-json and OpenVINO, onnxruntime or
TensorRT.
"""

import shutil
from pathlib import Path

import runtime
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.directory import atomic_directory
from runtime.bundle.layout import LICENCE_FILE
from runtime.errors import BundleError

_SOURCE = Path(runtime.__file__).parent / "cpp"
# Of the library's folder, what a user's build needs.
_LIBRARY = ("CMakeLists.txt", "cmake", "include", "src")
_README = """\
# {model}, {precision}

{does} with the bundle in `bundle/`, in C++. Licence of the weights: **{licence}**.
{notice}

    sudo apt-get install cmake g++ libjpeg-dev libpng-dev nlohmann-json3-dev python3-venv
    python3 -m venv env && . env/bin/activate
    pip install openvino          # or another OpenVINO with its CMake files
    cmake -S . -B build -DOpenVINO_DIR=$(python3 -c 'import openvino; print(openvino.__path__[0] + "/cmake")')
    cmake --build build
    {command}

With TensorRT, add `-DRNE_TENSORRT=ON -DTensorRT_INCLUDE_DIR=...`, and build the plan on the device that runs it:
`run-ssl build bundle`. The interface is `resnet_engine/include/resnet_engine.h`; its example is `main.cpp`.
"""


def check_cpp_target(target: Path) -> None:
    """Refuse a folder that cannot be written, before the export.

    Raises:
        BundleError: The target exists, or has no parent folder.
    """
    if target.exists() or target.is_symlink():
        raise BundleError(f"{target} exists: remove it, or pass another folder to --emit-cpp")
    if not target.parent.is_dir():
        raise BundleError(f"{target.parent} is not a directory: create it first, or pass another folder to --emit-cpp")


def write_cpp_project(path: Path, target: Path) -> None:
    """Write the project of a bundle.

    Args:
        path: The bundle's directory.
        target: The directory to make.

    Raises:
        BundleError: The bundle is damaged, or the folder cannot be written; nothing is left then.
    """
    bundle = open_bundle(path)
    if not _SOURCE.is_dir():
        raise BundleError(f"{_SOURCE} is missing: this installation lacks the C++ source; reinstall export-ssl")
    check_cpp_target(target)
    with atomic_directory(target, overwrite=False) as folder:
        for file in (*(_SOURCE / "examples" / _example(bundle)).iterdir(), *(_SOURCE / "examples/common").iterdir()):
            shutil.copy2(file, folder / file.name)
        for name in _LIBRARY:
            source = _SOURCE / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            (folder / "resnet_engine").mkdir(exist_ok=True)
            copy(source, folder / "resnet_engine" / name)
        shutil.copytree(path, folder / "bundle")
        shutil.copy2(path / LICENCE_FILE, folder / LICENCE_FILE)
        (folder / "README.md").write_text(_readme(bundle), encoding="utf-8")


def _example(bundle: Bundle) -> str:
    """Return the example that a bundle can run."""
    return "classify" if bundle.manifest.model.classes else "embed"


def _readme(bundle: Bundle) -> str:
    manifest = bundle.manifest
    return _README.format(
        model=manifest.model.name,
        precision=manifest.precision.name,
        licence=manifest.licence.spdx,
        notice=manifest.licence.notice,
        does="Classifies images" if manifest.model.classes else "Writes the embeddings of a folder of images",
        command="build/classify bundle PICTURE.jpg" if manifest.model.classes else "build/embed bundle FOLDER OUT.npy",
    )
