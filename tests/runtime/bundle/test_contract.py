"""The bundle is the contract: whatever is written into its directory is described in `runtime/bundle/`.

That the table has all that an export and the commands write is checked where they are run: `described_files`.
"""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from runtime.bundle import layout
from tests.helpers.bundle_files import DESCRIBED, described_files
from tests.helpers.report_samples import write_bundles

SCHEMAS = {name: schema for name, schema in DESCRIBED.items() if not isinstance(schema, str)}


def parts(schema: Any) -> Iterator[type[BaseModel]]:
    """Yield a schema and all models that its fields, however deep, are made of."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        yield schema
        for field in schema.model_fields.values():
            yield from parts(field.annotation)
    else:
        for argument in get_args(schema):
            yield from parts(argument)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_of_a_file_and_all_its_parts_stand_in_the_bundle(name):
    found = {part.__qualname__: part.__module__ for part in parts(SCHEMAS[name])}
    assert {part: module for part, module in found.items() if not module.startswith("runtime.bundle.")} == {}


def test_parts_are_found_in_tuples_and_beside_none():
    class Inner(BaseModel):
        number: int

    class Outer(BaseModel):
        several: tuple[Inner, ...] = ()
        one: dict[str, Inner | None]

    assert set(parts(Outer)) == {Outer, Inner}


def test_the_table_and_the_layout_name_the_same_files():
    constants = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
    plans = {name for one in layout.PLANS.values() for name in (one.plan, one.sidecar, one.layers, one.rejected)}
    named = (constants | plans) - {layout.RESULTS_FOLDER}
    results = {layout.BENCH_FILE, layout.COMPARE_FILE, layout.CHANGED_FILE, layout.NEIGHBOURS_FILE}
    assert {name if name not in results else f"{layout.RESULTS_FOLDER}/{name}" for name in named} == set(DESCRIBED)


def test_a_file_that_the_table_lacks_is_seen(tmp_path):
    bundle, _ = write_bundles(tmp_path)
    described_files(bundle)
    (bundle / "more.json").write_text("{}")
    with pytest.raises(KeyError, match=r"more\.json"):
        described_files(bundle)
