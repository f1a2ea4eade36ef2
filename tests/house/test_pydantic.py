"""What pydantic's oldest version that the project allows would warn of, on stderr, before the command's own line."""

import importlib
import pkgutil
from collections.abc import Iterator

from pydantic import BaseModel

import calibration
import exporter
import runtime


def schemas(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    """Yield every schema of the project below one."""
    for schema in base.__subclasses__():
        if schema.__module__.partition(".")[0] in ("runtime", "calibration", "exporter"):
            yield schema
        yield from schemas(schema)


def test_a_field_named_model_is_declared_to_pydantic_before_2_10() -> None:
    for package in (runtime, calibration, exporter):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    named = {
        schema.__name__: schema.model_config.get("protected_namespaces")
        for schema in schemas()
        if any(field.startswith("model_") for field in schema.model_fields)
    }
    # timm chose the name `model_args`.
    assert named == {"_Config": ()}
