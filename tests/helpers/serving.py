"""Helpers on repositories: Triton's own schema, and every file with its bytes."""

from pathlib import Path
from typing import Any

from runtime.bundle.manifest import Int8, Precision
from runtime.serving.repository import Written, write_repository
from runtime.serving.request import RepositoryRequest


def parsed(model: Path) -> Any:
    """Return a model's config.pbtxt as protobuf reads it with Triton's own schema."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse((model / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def write(bundle: Path, repository: Path, **wishes: Any) -> Written:
    """Write a bundle into a repository."""
    return write_repository(RepositoryRequest(bundle=bundle, repository=repository, **wishes))


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return everything under a folder: path to bytes, None for a folder."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def int8(name: str, *, target: str = "tensorrt") -> Precision:
    """Return an INT8 precision as a manifest has it."""
    fields = {"target": target, "method": "max", "techniques": (), "images": 2, "held_out": 1, "held_out_sqnr_db": 30.0}
    return Precision(name=name, min_sqnr_db=20.0, int8=Int8.model_validate(fields))
