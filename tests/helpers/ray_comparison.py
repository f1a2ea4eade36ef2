"""Comparisons with and without Ray: the workers' size, and what must be equal."""

import json
from typing import Any

from runtime.bundle.results.compare_json import Comparison
from runtime.on_ray.choice import RayChoice

# One CPU, so that a machine of two has two workers, and the engines' sums are made in the same order with and without.
ONE_CPU = RayChoice(cpus=1)


def figures(comparison: Comparison) -> dict[str, Any]:
    """Return what a report says but times and how it was run."""
    content = json.loads(comparison.model_dump_json())
    for name in ("seconds", "images_per_s", "notes"):
        del content["data"][name]
    for row in (content["original"], *content["engines"]):
        del row["images_per_s"]
    return content
