"""What must be whole of a command's outputs: each function raises where something stands in a folder that is not."""

import json
import zipfile
from pathlib import Path

import numpy as np


def bundles(folder: Path) -> None:
    """Check each bundle, its results and its plan."""
    from runtime.bundle.bundle import open_bundle
    from runtime.bundle.layout import PLAN_FILE, RESULTS_FOLDER
    from runtime.engines.trt.preflight import read_plan

    for found in sorted(folder.iterdir()):
        if found.is_dir() and not found.name.startswith(".") and found.name.startswith("bundle"):
            opened = open_bundle(found)
            opened.golden()
            for result in sorted((found / RESULTS_FOLDER).glob("[!.]*")):
                json.loads(result.read_bytes())
            if (found / PLAN_FILE).exists():
                read_plan(opened)
    for cache in folder.glob("[!.]*.zip"):
        assert zipfile.ZipFile(cache).testzip() is None
    for project in folder.glob("[!.]*-cpp"):
        open_bundle(project / "bundle")
        assert (project / "README.md").is_file()
    repositories(folder)


def repositories(folder: Path) -> None:
    """Check each version of each model of a repository against its record."""
    from runtime.serving.record import read_record
    from runtime.support.files import hash_file

    for model in sorted((folder / "repository").glob("*")):
        assert not model.name.startswith("."), f"a server would take {model} for a model"
        assert (model / "config.pbtxt").read_text(encoding="utf-8").endswith("\n")
        versions = [entry for entry in model.iterdir() if entry.name.isdigit()]
        # Between the two renames of `--overwrite` an only version stands aside, until the next maker puts it back.
        assert versions or list(model.glob(".*.old/*")), f"{model} has no version"
        for version in versions:
            assert read_record(version).contract
            written = json.loads((version / "export-ssl.json").read_bytes())
            for name, digest in written["files"].items():
                assert hash_file(version / name) == digest, name


def outputs(folder: Path) -> None:
    """Check each embedding job: parts that are recorded are there, and every file of `data` can be read."""
    import pyarrow.parquet as pq

    from runtime.embed.output.identity import read_job
    from runtime.embed.output.part_files import list_done

    for output in [path for path in folder.iterdir() if path.name.startswith("embedded")]:
        job = read_job(output)
        done = list(list_done(output, job.parts)) if job is not None else []
        for file in sorted((output / "data").glob("*")):
            if file.suffix == ".parquet":
                assert pq.read_table(file).num_rows <= 8
            elif file.suffix == ".npy":
                np.load(file)
            elif file.suffix == ".jsonl":
                [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            else:
                assert file.suffix == ".lance", f"{file} is no part"
        for record in done:
            for part in record.files:
                assert (output / "data" / part.name).stat().st_size == part.size_bytes


def pages(folder: Path) -> None:
    """Check the report and the page of a search."""
    for page in folder.glob("[!.]*.html"):
        assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), page
    for file in folder.glob("[!.]*.json"):
        json.loads(file.read_bytes())
    outputs(folder)
