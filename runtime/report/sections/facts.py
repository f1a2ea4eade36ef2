"""What needs no plot: bundles side by side, FLOPs, changed images, provenance, licence."""

from runtime.bundle.layers import total_macs
from runtime.bundle.layout import MODEL_FILE
from runtime.bundle.manifest import Manifest
from runtime.bundle.results.bench_json import BenchResult, Machine
from runtime.report.candidates import Candidate
from runtime.report.document import (
    Block,
    Cell,
    Column,
    Commands,
    Form,
    Gallery,
    Picture,
    Section,
    Table,
    Text,
    format_cell,
)
from runtime.report.inputs import BundleInputs, Inputs, bundle_name
from runtime.support.words import describe_size


def bundles_section(inputs: Inputs, candidates: list[Candidate]) -> Section:
    """Return the bundles side by side, each a column, with the fastest engine of each."""
    columns = [_bundle_facts(one, candidates) for one in inputs.bundles]
    heads = [f"{letter}: {one.name}" for letter, one in zip(_letters(len(columns)), inputs.bundles, strict=True)]
    rows = tuple((name, *(column[name] for column in columns)) for name in columns[0])
    table = Table(
        title="Network, size and fastest engine",
        columns=(Column(name=""), *(Column(name=head if len(heads) > 1 else head[3:]) for head in heads)),
        rows=rows,
        sortable=False,
    )
    title = "A against B" if len(columns) == 2 else "The bundles" if len(columns) > 1 else "The bundle"
    return Section(name="bundles", title=title, blocks=(table,))


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(count)]


def _bundle_facts(one: BundleInputs, candidates: list[Candidate]) -> dict[str, str]:
    manifest = one.bundle.manifest
    mine = [x for x in candidates if x.measured.kind == "bundle" and bundle_name(x.measured.bundle) == one.name]
    best = min((x for x in mine if x.score is not None), key=lambda x: x.latency_ms, default=None)
    size = sum(entry.size_bytes for entry in manifest.files if entry.path == MODEL_FILE)
    int8 = manifest.precision.int8

    def cell(value: Cell, form: Form) -> str:
        return format_cell(value, form)

    return {
        "network": manifest.model.timm_tag or manifest.model.name,
        "precision in the graph": manifest.precision.name,
        "image size": f"{describe_size(manifest.preprocessing.image_size)} px",
        "parameters": cell(manifest.model.parameters, "count"),
        "MACs per image": cell(manifest.model.macs, "count"),
        MODEL_FILE: cell(size, "bytes"),
        "layers left float": ", ".join(int8.float_layers) if int8 and int8.float_layers else "-",
        "fastest engine": f"{best.measured.engine} ({best.measured.precision})" if best else "-",
        "its median latency": cell(best.latency_ms if best else None, "ms"),
        "its top-1": cell(best.top1 if best else None, "percent"),
        "its drop": cell(best.drop if best else None, "points"),
    }


def flops_section(inputs: Inputs) -> Section:
    """Return the multiply-accumulates, and why the model card's figure is another."""
    rows = [_flops_row(one) for one in inputs.bundles]
    table = Table(
        title="Multiply-accumulates of convolutions and the classifier, one image",
        columns=(
            Column(name="bundle"),
            Column(name="MACs, PyTorch", form="count"),
            Column(name="MACs, ONNX graph", form="count"),
            Column(name="FLOPs = 2 x MACs", form="count"),
            Column(name="card's FLOPs", form="count"),
            Column(name="by the card's rule", form="count"),
        ),
        rows=tuple(rows),
    )
    sentences = {sentence: None for one in inputs.bundles for sentence in _explain_card(one.bundle.manifest)}
    texts = (Text(paragraphs=tuple(sentences)),) if sentences else ()
    return Section(name="flops", title="FLOPs", blocks=(table, *texts))


def _flops_row(one: BundleInputs) -> tuple[Cell, ...]:
    manifest = one.bundle.manifest
    card = manifest.card
    has_card = card is not None and card.flops is not None
    return (
        one.name,
        manifest.model.macs,
        total_macs(one.bundle.layers()),
        manifest.model.flops,
        card.flops if card else None,
        card.flops_recomputed if card and has_card else None,
    )


def _explain_card(manifest: Manifest) -> list[str]:
    card = manifest.card
    if card is None or card.flops is None:
        return ["This network has no model card with FLOPs; 1 multiply-accumulate (MAC) is 2 FLOPs."]
    same = card.flops == card.flops_recomputed
    verdict = (
        "By that rule this network gives the card's figure exactly."
        if same
        else f"By that rule this network gives {card.flops_recomputed - card.flops:+,} against the card, which stays"
        " unexplained."
    )
    return [
        f"The card's {card.flops:,} is not 2 x {manifest.model.macs:,}. It counts a multiply-accumulate once and not"
        " twice, adds 2 for every element of a BatchNorm and the average pool's additions, leaves out the classifier,"
        f" and was taken on a photograph of 224 x 285 pixels that was resized but not cropped. {verdict}"
    ]


def gallery_section(inputs: Inputs) -> Section:
    """Return the images whose top-1 class an engine changed."""
    title = "Images whose top-1 changed"
    entries = [
        entry
        for changes in inputs.changes
        for entry in changes.engines
        if inputs.reports_on(entry.bundle) or not entry.bundle
    ]
    if not entries:
        return Section(name="gallery", title=title, missing=f"run-ssl compare {inputs.paths} --data FOLDER --save")
    blocks: list[Block] = []
    for entry in entries:
        head = ", ".join((*filter(None, (bundle_name(entry.bundle),)), f"{entry.engine} ({entry.precision})"))
        count = f"{head}: {entry.changed:,} of {entry.images:,} images"
        if not entry.kept:
            blocks.append(Text(paragraphs=(f"{count}.",)))
            continue
        shown = f"; the {len(entry.kept)} of which the original was surest" if entry.changed > len(entry.kept) else ""
        pictures = tuple(
            Picture(
                jpeg_base64=one.thumbnail_jpeg_base64,
                title=one.name,
                lines=(
                    f"label: {one.label}",
                    f"original: {one.original} (margin {_margin(one.margins[0])})",
                    f"engine: {one.found} (margin {_margin(one.margins[1])})",
                    _verdict(one.label, one.original, one.found),
                ),
            )
            for one in entry.kept
        )
        blocks.append(Gallery(title=count + shown, pictures=pictures))
    note = Text(
        paragraphs=("Margin: the highest logit less the second-highest. A small one is a tie that rounding broke.",)
    )
    return Section(name="gallery", title=title, blocks=(note, *blocks))


def _margin(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _verdict(label: str, original: str, found: str) -> str:
    return "engine wrong" if original == label else "engine right" if found == label else "both wrong"


def provenance_section(inputs: Inputs) -> Section:
    """Return where everything came from: weights, hashes, tools, machine, how quiet it was."""
    blocks: list[Block] = [_weights_table(inputs), _files_table(inputs)]
    for bench in inputs.benches:
        blocks += _bench_blocks(bench)
    for comparison in inputs.comparisons:
        data = comparison.data
        notes = "".join(f" {note}." for note in data.notes)
        blocks.append(Text(paragraphs=(f"Accuracy: {data.images:,} images of {data.source}.{notes}",)))
    return Section(name="provenance", title="Provenance", blocks=tuple(blocks))


def _weights_table(inputs: Inputs) -> Table:
    rows = []
    for one in inputs.bundles:
        manifest = one.bundle.manifest
        weights = manifest.weights
        tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
        rows.append((one.name, f"{weights.source}: {weights.name}", weights.tensors_sha256, weights.file_sha256, tools))
    names = ("bundle", "weights", "sha256 of the tensors", "sha256 of the file", "exported with")
    return Table(title="Weights and tools", columns=tuple(Column(name=name) for name in names), rows=tuple(rows))


def _files_table(inputs: Inputs) -> Table:
    return Table(
        title="Files, their hashes checked for this page",
        columns=(Column(name="bundle"), Column(name="file"), Column(name="size", form="bytes"), Column(name="sha256")),
        rows=tuple(
            (one.name, entry.path, entry.size_bytes, entry.sha256)
            for one in inputs.bundles
            for entry in one.bundle.manifest.files
        ),
    )


def _bench_blocks(bench: BenchResult) -> list[Block]:
    noise = bench.noise
    facts = [
        *_machine_facts(bench.machine),
        ("started", bench.started_at),
        ("took", f"{bench.seconds:,.0f} s"),
        ("load before", f"{noise.load_before:.2f} processes"),
        ("stolen by the hypervisor", format_cell(noise.steal_share, "percent")),
        ("taken by other processes", format_cell(noise.busy_share, "percent")),
        ("drift of the steadiest subject", format_cell(noise.drift, "ratio")),
        ("seed of the intervals", str(bench.seed)),
    ]
    table = Table(
        title="The benchmark's machine",
        columns=(Column(name=""), Column(name="value")),
        rows=tuple((name, value) for name, value in facts if value),
        sortable=False,
    )
    commands = tuple(
        Commands(title=f"The same with other programs: {name}", lines=lines)
        for name, lines in bench.commands.items()
        if lines
    )
    return [table, *commands]


def _machine_facts(machine: Machine) -> list[tuple[str, str]]:
    gpus = [
        f"{gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory_mb:,} MB"
        + (f", {gpu.clock_mhz} of {gpu.max_clock_mhz} MHz" if gpu.clock_mhz and gpu.max_clock_mhz else "")
        + (f", throttling: {gpu.throttling}" if gpu.throttling else "")
        for gpu in machine.gpus
    ]
    return [
        ("processor", machine.cpu),
        ("instruction sets", ", ".join(machine.instructions)),
        ("cores", str(machine.cores)),
        ("governor", machine.governor),
        ("memory", f"{machine.memory_gb:.1f} GB"),
        ("virtual machine", machine.virtual),
        ("platform", machine.platform),
        ("GPU", "; ".join(gpus)),
        ("CUDA of the driver", machine.driver),
        ("Python", machine.python),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
        ("commit", machine.commit),
    ]


def licence_sentences(inputs: Inputs) -> tuple[str, ...]:
    """Return the licence of the weights, which holds for the bundle and everything made from it."""
    licences = {one.bundle.manifest.licence.model_dump_json(): one.bundle.manifest.licence for one in inputs.bundles}
    return tuple(" ".join(f"{one.spdx}. {one.notice} {one.url}".split()) for one in licences.values())
