"""The documents are true: commands parse, options exist, code runs, and links and make targets lead somewhere.

Three marks stand above a fenced block of README.md and docs/:

    <!-- runs -->            Python that is run here, in a folder where every file exists that it names by a string
    <!-- needs: gpu -->      commands or Python for an NVIDIA GPU
    <!-- output: … -->       what a command printed; `benchmarks/documents/update_documents.py` renews it
"""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.main import get_command

from benchmarks.documents.reference.commands_page import HOW_TO
from exporter.checks.golden import golden_files
from exporter.cli import app as export_app
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, WeightsChoice
from runtime.commands.run_ssl import app as run_app
from tests.helpers.paths import ROOT
from tests.helpers.tiny_resnet import pictures, tiny_resnet

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
}
COMMANDS_PAGE = PAGES["docs/reference/commands.md"]
# What a newcomer reads to the end: lines, bytes, columns.
README_LINES, README_BYTES, README_COLUMNS = 130, 8_000, 120
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"])
COMMANDS = {"export-ssl": get_command(export_app), "run-ssl": get_command(run_app)}
# Of typer's click, which is a package of its own or part of typer, depending on typer's version.
UsageProblem = typer.BadParameter.__bases__[0]
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>runs|needs: gpu) -->\n+)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
OPERATORS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<"})


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    page: str
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        first = next((line for line in self.text.splitlines() if line.strip()), "")
        return f"{self.page}: {first}"


def blocks(document: str, page: str = "") -> list[Block]:
    return [Block(page, found["language"], found["text"], found["mark"] or "") for found in FENCE.finditer(document)]


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every line that calls one of ours; where some lines have a prompt, of those lines only."""
    lines = [line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines()]
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    for line in prompted or lines:
        if not re.search(rf"(^|[\s/])({'|'.join(COMMANDS)})\s", f"{line} "):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in OPERATORS:
                words.append(word)
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words and Path(words[0]).name in COMMANDS:
                yield [Path(words[0]).name, *words[1:]]
            words = []


def parse(line: list[str]) -> None:
    """Parse a command line with the command's own parser, without running it."""
    name, *arguments = line
    command = COMMANDS[name]
    subcommands = getattr(command, "commands", None)
    if subcommands is not None and arguments not in (["--help"], ["--version"]):
        assert arguments, f"{name} without a subcommand"
        assert arguments[0] in subcommands, f"{name} has no subcommand {arguments[0]}"
        name, command, arguments = f"{name} {arguments[0]}", subcommands[arguments[0]], arguments[1:]
    if not {"--help", "--version"} & {*arguments}:
        command.make_context(name, arguments)


def options() -> Iterator[tuple[str, str]]:
    """Yield every command or subcommand with each of its options."""
    for name, command in COMMANDS.items():
        subcommands = getattr(command, "commands", {"": command})
        for subname, subcommand in subcommands.items():
            for parameter in subcommand.params:
                names = (*parameter.opts, *parameter.secondary_opts)
                yield from ((f"{name} {subname}".strip(), option) for option in names if option[:2] == "--")


OPTIONS = list(options())
BLOCKS = [block for page, text in PAGES.items() for block in blocks(text, page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
LINES = [(block, line) for block in BLOCKS if block.language != "python" for line in command_lines(block.text)]


def slugs(document: str) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_targets(document: str) -> set[str]:
    """Return the targets of `make TARGET` in code, with or without a prompt."""
    return set(re.findall(r"(?:^|`|\$ )make ([a-z][\w-]*)", document, re.MULTILINE))


def test_the_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= README_LINES
    assert len(README.encode()) <= README_BYTES
    assert [line for line in lines if len(line) > README_COLUMNS] == []


def test_the_readme_shows_both_commands_and_links_to_a_page_of_each() -> None:
    shown = {
        " ".join(line[:2]) if line[0] == "run-ssl" else line[0] for block, line in LINES if block.page == "README.md"
    }
    assert {"export-ssl", "run-ssl verify", "run-ssl compare", "run-ssl report"} - shown == set()
    linked = set(re.findall(r"\]\(docs/how-to/([\w-]+)\.md", README))
    assert {pages[0] for pages in HOW_TO.values()} - linked == set()


def test_every_command_has_a_page() -> None:
    assert {command for command, _ in OPTIONS} - set(HOW_TO) == set()


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=" ".join)
def test_a_command_line_of_the_documents_parses(line: list[str]) -> None:
    parse(line)


def needs_gpu(line: list[str]) -> bool:
    """Return whether a command line does nothing without an NVIDIA GPU."""
    builds = line[:2] == ["run-ssl", "build"] and "tensorrt-rtx" not in line
    return builds or bool({"tensorrt", "gpu", "--ray-gpus"} & set(line[1:]))


def test_what_needs_a_gpu_is_marked() -> None:
    assert [(block.page, line) for block, line in LINES if needs_gpu(line) and block.mark != "needs: gpu"] == []


@pytest.mark.parametrize(
    "line",
    [
        "export-ssl --model resnet18 --half",
        "export-ssl --model resnet18 --interpolation nearest",
        "run-ssl compare bundle",
        "run-ssl compare bundle --data val --limit 0",
    ],
)
def test_a_command_line_that_would_not_parse_is_found(line: str) -> None:
    (words,) = command_lines(f"{line}\n")
    with pytest.raises(UsageProblem):
        parse(words)


def test_a_subcommand_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="run-ssl has no subcommand serve"):
        parse(["run-ssl", "serve", "bundle"])


def test_command_lines_are_found_beside_prompts_comments_pipes_and_output() -> None:
    text = "$ HF_HUB_OFFLINE=1 .venv/bin/export-ssl --model a \\\n    --fp16  # now\nrun-ssl 1 isn't one\n$ ls | head\n"
    assert list(command_lines(text)) == [["export-ssl", "--model", "a", "--fp16"]]
    text = "make env && run-ssl verify b --json > out.json\npip install 'export-ssl[cpu]'\n"
    assert list(command_lines(text)) == [["run-ssl", "verify", "b", "--json"]]


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda value: value)
def test_every_option_is_in_the_section_of_its_command(command: str, option: str) -> None:
    section = COMMANDS_PAGE.split(f"\n## {command}\n")[1].split("\n## ")[0]
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", section), f"commands.md does not mention {option} of {command}"


@pytest.mark.parametrize("command", HOW_TO)
def test_a_page_explains_each_command_in_use(command: str) -> None:
    text = "\n".join(PAGES[f"docs/how-to/{name}.md"] for name in HOW_TO[command])
    assert re.search(rf"(?<![\w-]){command} ", text)


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_a_page_names_in_code_exists(page: str) -> None:
    named = set(re.findall(r"`(--[a-z][\w-]*)", FENCE.sub("", PAGES[page])))
    assert named - {option for _, option in OPTIONS} - {"--help"} == set()


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_of_the_documents_compiles(block: Block) -> None:
    if ">>>" not in block.text:
        compile(block.text, block.page, "exec")


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("documents") / "bundle"
    request = ExportRequest(
        model="ssl_resnet18", fp16=True, weights=WeightsChoice(source="random"), img_size=64, output=bundle
    )
    export_bundle(request)
    return bundle


@pytest.mark.parametrize("block", [block for block in PYTHON if block.mark == "runs"], ids=str)
def test_the_python_of_the_documents_that_is_marked_runs(block: Block, small_bundle: Path, tmp_path: Path) -> None:
    provide_files(block.text, tmp_path, small_bundle)
    done = subprocess.run([sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_has_python_that_runs() -> None:
    assert [block for block in PYTHON if block.page == "README.md" and block.mark == "runs"]


def provide_files(code: str, folder: Path, bundle: Path) -> None:
    """Put a bundle, a picture or what else is needed wherever a string of the code names one."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        path = folder / node.value
        if re.search(r"-fp(16|32)/?$", node.value) and not path.exists():
            path.symlink_to(bundle, target_is_directory=True)
        elif path.suffix in {".jpg", ".png"}:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(golden_files(None)[0], path)
        elif node.value == "resnet50.onnx":
            save_resnet_at_224(path)
        elif node.value == "imagenet/train":
            pictures(path, 8)
        elif node.value == "embeddings/data":
            save_embeddings(path)


def save_embeddings(folder: Path) -> None:
    """Save a part as `run-ssl embed --normalise --dtype float16` writes it: key and embedding, five rows."""
    folder.mkdir(parents=True)
    rows = np.eye(5, 8, dtype=np.float16)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 8)
    pq.write_table(pa.table({"key": list("abcde"), "embedding": embedding}), folder / "part-000000.parquet")


def save_resnet_at_224(path: Path) -> None:
    """Save the smallest of ResNets, with an input as the README's has it."""
    model = tiny_resnet()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 224
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 224
    del model.graph.value_info[:]
    onnx.save(model, path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(path: Path) -> None:
    document = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", FENCE.sub("", document)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), f"{target}: there is no {linked.relative_to(ROOT)}"
        if anchor and linked.suffix == ".md":
            assert anchor in slugs(linked.read_text(encoding="utf-8")), f"{target}: no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))
    assert make_targets(path.read_text(encoding="utf-8")) - targets == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_files_that_are_named_in_code_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:runtime|exporter|calibration|tests|benchmarks)/[\w/.*-]+)", path.read_text(encoding="utf-8")
    )
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []
