"""Why INT8 is not faster: two bundles of one network, by their layers' times or by their plans."""

from pathlib import Path

from runtime.bench.limits.side_by_side import side_by_side
from runtime.bundle.results.bench_json import BenchResult, Measured
from runtime.engines.open_engine import TENSORRT
from runtime.plans.explain import compare_accounts
from runtime.plans.read_account import read_account


def explain_bundles(result: BenchResult) -> tuple[tuple[str, ...], ...]:
    """Return why the first bundle of a result is faster or slower than each other one: sentences, the ratio first.

    Compared are equal engines, batches and thread counts. TensorRT's plans are compared by what the engine inspector
    said of them, others by the layer times of this run; what has neither is left out.
    """
    layers = {limit.name: limit.layers for limit in result.limits}
    found: list[tuple[str, ...]] = []
    subjects = [one for one in result.measured if one.kind == "bundle"]
    for second in subjects:
        first = next((one for one in subjects if _same_setting(one, second)), second)
        if first.bundle == second.bundle:
            continue
        if second.engine == TENSORRT:
            found.append(compare_plans(Path(first.bundle), Path(second.bundle)))
        elif first.name in layers and second.name in layers:
            latencies_ms = (first.latency.median_ms, second.latency.median_ms)
            names = (first.name, second.name)
            found.append(side_by_side(layers[first.name], layers[second.name], names, latencies_ms=latencies_ms)[1])
    return tuple(found)


def _same_setting(first: Measured, second: Measured) -> bool:
    return (first.engine, first.batch, first.threads) == (second.engine, second.batch, second.threads)


def compare_plans(first: Path, second: Path) -> tuple[str, ...]:
    """Return why the TensorRT plan of one bundle is faster than another's, in sentences.

    Raises:
        BundleError: One has no plan, or its files are damaged.
    """
    return compare_accounts(read_account(str(first)), read_account(str(second)))
