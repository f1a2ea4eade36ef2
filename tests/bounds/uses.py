"""What each extra is for, done for real with the installed project: a function for each."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.embed.readers import READERS, read_with
from tests.bounds.case import Case
from tests.bounds.inputs import INT8, OWN
from tests.helpers.paths import ROOT
from tests.helpers.project import normalised

# Two images in a batch, three parts, the two best classes: every column, and more than one file of each kind.
_JOB = ("--engine", "onnxruntime", "--batch-size", "4", "--part-images", "8", "--top-k", "2")

_SHORT = ("--runs", "6", "--seconds", "0", "--rounds", "2", "--no-limit")
_MATRIX = """
import glob, sys
import numpy, pyarrow.parquet
tables = [pyarrow.parquet.read_table(name) for name in sorted(glob.glob("embedded/data/*.parquet"))]
numpy.save("matrix.npy", numpy.concatenate([numpy.stack(table["embedding"].to_numpy()) for table in tables]))
"""
_PARQUET_OF_IMAGES = """
import pathlib, sys
import pyarrow, pyarrow.parquet
files = sorted(pathlib.Path(sys.argv[1]).glob("*/*.png"))
table = {"image": [{"bytes": file.read_bytes(), "path": file.name} for file in files]}
pyarrow.parquet.write_table(pyarrow.table(table), "images.parquet")
"""
_LANCE_ROWS = "import lance; print(lance.dataset('embedded').count_rows())"
# `--ray` on this machine: two workers, and no dashboard.
_RAY = {"RAY_DISABLE_DASHBOARD": "1", "RAY_USAGE_STATS_ENABLED": "0"}
# timm's hub is asked for weights and cannot be reached.
_OFFLINE = {"HF_HUB_OFFLINE": "1"}


def use_export(case: Case) -> None:
    """Export a checkpoint in every precision, verify it and compare it with PyTorch."""
    checkpoint, pictures = str(case.inputs / "network.safetensors"), str(case.inputs / "pictures")
    own = (*OWN, "--weights", checkpoint, "--labels", pictures)
    case.export_ssl(*own, "--output", "fp32")
    case.export_ssl(*own, "--fp16", "--output", "fp16")
    case.export_ssl(*own, *INT8, "--calib", pictures, "--sensitivity", "--output", "int8")
    case.expect((case.work / "int8" / "sensitivity.svg").is_file(), "--sensitivity wrote no plot")
    for bundle in ("fp32", "fp16", "int8"):
        case.run_ssl("verify", bundle)
    case.run_ssl("compare", "fp32", "fp16", "int8", "--data", pictures, "--weights", checkpoint)
    refused = case.refused("export-ssl", "--model", "ssl_resnet18", "--output", "hub", variables=_OFFLINE)
    case.expect(refused.startswith("error: "), f"an export without the hub said {refused!r}")


def use_report(case: Case) -> None:
    """Time bundles and make the report of them."""
    for bundle in ("fp32", "fp16"):
        shutil.copytree(case.inputs / bundle, case.work / bundle)
    case.run_ssl("bench", "fp32", "fp16", "--engines", "onnxruntime,openvino", *_SHORT)
    case.run_ssl("report", "fp32", "fp16", "--output", "report.html")
    page = (case.work / "report.html").read_text(encoding="utf-8")
    # plotly.js has its licence at its beginning, and is most of the page.
    case.expect("plotly.js v" in page and len(page) > 1_000_000, "the report does not carry plotly.js")
    case.expect('class="plot' in page, "the report has no plot")


def use_embed(case: Case) -> None:
    """Embed a folder to Parquet and to .npy, and a Parquet file of images: the same numbers each time."""
    embed(case)
    case.python(_MATRIX)
    wanted = np.load(case.work / "matrix.npy")
    case.run_ssl(
        "embed", str(case.inputs / "fp32"), str(case.inputs / "pictures"), "-o", "as-npy", "--format", "npy", *_JOB
    )
    parts = sorted((case.work / "as-npy" / "data").glob("*.npy"))
    found = [one for one in map(np.load, parts) if one.ndim == 2 and one.shape[1] == wanted.shape[1]]
    case.expect(np.array_equal(np.concatenate(found), wanted), "Parquet and .npy hold other embeddings")
    case.python(_PARQUET_OF_IMAGES, str(case.inputs / "pictures"))
    shutil.rmtree(case.work / "embedded")
    case.run_ssl("embed", str(case.inputs / "fp32"), "images.parquet", "-o", "embedded", *_JOB)
    case.python(_MATRIX)
    same = np.array_equal(np.load(case.work / "matrix.npy"), wanted)
    case.expect(same, "images in Parquet have other embeddings than the files")


def use_readers(case: Case) -> None:
    """Read an output with each reader of the extra: pyarrow's numbers each time."""
    embed(case)
    case.python(_MATRIX)
    wanted = np.load(case.work / "matrix.npy")
    versions = case.environment.versions()
    for reader in READERS:
        package = normalised(reader.pins[0].partition("==")[0])
        if package in versions:
            found = read_with(case.environment.folder / "bin" / "python", reader, case.work / "embedded")
            same = found.matrix is not None and np.array_equal(found.matrix, wanted)
            case.expect(same, f"{reader.name} reads other embeddings than pyarrow: {found.refusal}")
            case.commands.append(f"lines of docs/how-to/read-embeddings.md for {reader.name}")


def use_lance(case: Case) -> None:
    """Embed to a data set of Lance, read it and search in it."""
    embed(case, "--format", "lance")
    count = len(list((case.inputs / "pictures").glob("*/*")))
    case.expect(case.python(_LANCE_ROWS) == str(count), "Lance counts other rows than there are pictures")
    find_itself(case)


def use_search(case: Case) -> None:
    """Search exactly and with an index of faiss: a picture is nearest to itself."""
    embed(case)
    find_itself(case)
    find_itself(case, "--index")


def use_scale(case: Case) -> None:
    """Embed with Ray and without: the same bytes."""
    embed(case)
    case.command("run-ssl", *_embedding(case, "by-ray"), "--ray", variables=_RAY)
    kinds = [sorted((case.work / name / "data").iterdir()) for name in ("embedded", "by-ray")]
    same = [[(file.name, file.read_bytes()) for file in files] for files in kinds]
    case.expect(same[0] == same[1], "Ray's parts have other bytes")


def use_demo(case: Case) -> None:
    """Train the demo's network, which takes scikit-learn's digits, and export it."""
    for name in ("__init__.py", "inputs"):
        source, target = ROOT / "benchmarks" / name, case.work / "benchmarks" / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    case.command("python", "-m", "benchmarks.inputs.train_digits", "demo")
    demo = ("--weights", "demo/digits_resnet18.safetensors", "--labels", "demo/digits_labels.txt")
    case.export_ssl(*OWN, *demo, "--interpolation", "bilinear", "--output", "digits")


def use_docs(case: Case) -> None:
    """Build the documents as a site."""
    copy_checkout(case.work / "checkout")
    case.command("zensical", "build", "--clean", "--strict", within="checkout")
    case.expect((case.work / "checkout" / "build" / "site" / "index.html").is_file(), "there is no site")


def use_release(case: Case) -> None:
    """Build wheel and sdist, and check both; choose versions with uv."""
    copy_checkout(case.work / "checkout")
    case.command("python", "-m", "build", "checkout")
    files = sorted(map(str, (case.work / "checkout" / "dist").iterdir()))
    case.expect(len(files) == 2, f"built {files}, expected a wheel and an sdist")
    case.command("twine", "check", "--strict", *files)
    words = ("pip", "compile", "checkout/pyproject.toml", "--resolution", "lowest-direct", "--quiet")
    case.expect("pillow==10.1" in case.command("uv", *words), "uv does not choose the lowest Pillow")
    listed = json.loads(case.command("uv", "python", "list", "--only-installed", "--output-format", "json"))
    case.expect({"version", "path"} <= listed[0].keys(), f"uv lists interpreters as {listed[0]}")


def use_rtx(case: Case) -> None:
    """Build and certify plans with NVIDIA's compiler, which needs no GPU."""
    for bundle in ("fp32", "fp16"):
        shutil.copytree(case.inputs / bundle, case.work / bundle)
        case.run_ssl("build", bundle, "--engine", "tensorrt-rtx")
        case.expect((case.work / bundle / "model.rtx.plan").is_file(), f"{bundle} got no plan")


def use_dev(case: Case) -> None:
    """Run the linter, and tests with each of the tools that only tests use."""
    checkout = case.work / "checkout"
    copy_checkout(checkout)
    case.command("ruff", "check", "--quiet", ".", within="checkout")
    tests = (
        "house/test_distributions.py",
        "runtime/serving/test_pbtxt.py",
        "runtime/engines/trt/test_cuda_names.py",
        "runtime/data/test_timm_streams.py",
        "runtime/support/test_paired_statistics.py",
        "calibration/activations/test_histogram.py",
    )
    # Old packages warn of what newer Pythons dropped; the suite takes warnings for errors.
    options = ("-q", "-n", "2", "--timeout", "600", "--cov=runtime", "-W", "ignore::DeprecationWarning")
    case.command("pytest", *options, *(f"tests/{name}" for name in tests), within="checkout")


def use_mutation(case: Case) -> None:
    """Make mutants, and run the tests of the program that tries them."""
    copy_checkout(case.work / "checkout")
    case.command("pytest", "-q", "tests/mutation", within="checkout")


def use_fuzz(case: Case) -> None:
    """Guide the fuzz by coverage for a moment."""
    copy_checkout(case.work / "checkout")
    case.command("pytest", "-q", "tests/torture/test_guided.py", within="checkout")


def embed(case: Case, *options: str) -> None:
    """Embed the pictures into the folder `embedded`."""
    case.run_ssl(*_embedding(case, "embedded"), *options)


def find_itself(case: Case, *options: str) -> None:
    """Search for one of the pictures, which must be found first."""
    picture = sorted((case.inputs / "pictures").glob("*/*"))[3]
    printed = json.loads(case.run_ssl("search", "embedded", str(picture), "-k", "3", "--json", *options))
    key = picture.relative_to(case.inputs / "pictures").as_posix()
    found = [one["key"] for one in printed["queries"][0]["neighbours"]]
    case.expect(found[0] == key, f"{key} is not nearest to itself: {found}")


def copy_checkout(target: Path) -> None:
    """Copy the files that git tracks or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def _embedding(case: Case, output: str) -> tuple[str, ...]:
    return ("embed", str(case.inputs / "fp32"), str(case.inputs / "pictures"), "-o", output, *_JOB)
