"""Every name of cuda-python's in `runtime/` exists in the installed package, whose functions take what they are given.

The package is compiled and has no types, so mypy cannot tell; importing it needs no GPU and no driver.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.paths import ROOT

PACKAGE = "cuda"
FILES = sorted(path for path in ROOT.glob("runtime/**/*.py") if "cuda" in path.read_text(encoding="utf-8"))
# What a function returns beside its status, where attributes of it are used.
STRUCTS = {"cudaGetDeviceProperties": "cudaDeviceProp"}


def load(name: str) -> ModuleType | None:
    """Return a module; None where there is no such one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def imported(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield name and object of what a statement imports of cuda-python; the object is None where it does not exist."""
    if isinstance(node, ast.Import):
        for each in node.names:
            if each.name.split(".")[0] == PACKAGE:
                module = load(each.name)
                # `import a.b` binds `a`.
                yield each.asname or PACKAGE, module if each.asname or module is None else load(PACKAGE)
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
        for each in node.names:
            found = getattr(load(node.module or ""), each.name, None)
            yield each.asname or each.name, load(f"{node.module}.{each.name}") if found is None else found


class Uses:
    """What one source uses of cuda-python.

    Attributes:
        aliases: Name to module, class or function.
        names: The dotted names that were found, as written.
        problems: What is not there or does not take its arguments, as `line: what`.
    """

    def __init__(self, source: str) -> None:
        self.aliases: dict[str, Any] = {}
        self.names: set[str] = set()
        self.problems: list[str] = []
        nodes = list(walk(ast.parse(source)))
        for node in nodes:
            for alias, target in imported(node):
                if target is None:
                    self._add(node, "is not there")
                else:
                    self.aliases[alias] = target
        for node in nodes:
            if isinstance(node, ast.Attribute):
                self._attribute(node)
            if isinstance(node, ast.Call):
                self._call(node)
            if isinstance(node, ast.FunctionDef):
                self._fields(node)

    def _add(self, node: ast.AST, what: str) -> None:
        self.problems.append(f"{getattr(node, 'lineno', 0)}: {ast.unparse(node)}: {what}")

    def _resolve(self, node: ast.expr) -> Any:
        """Return the object that a dotted name is; None where it is none of cuda-python's."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id)
        owner = self._resolve(node.value) if isinstance(node, ast.Attribute) else None
        return getattr(owner, node.attr, None) if owner is not None and isinstance(node, ast.Attribute) else None

    def _attribute(self, node: ast.Attribute) -> None:
        owner = self._resolve(node.value)
        if owner is not None:
            self.names.add(ast.unparse(node))
            self._expect(node, owner)

    def _expect(self, node: ast.Attribute, owner: Any) -> None:
        if not hasattr(owner, node.attr):
            self._add(node, "is not there")

    def _call(self, node: ast.Call) -> None:
        function = self._resolve(node.func)
        keywords = {each.arg: each for each in node.keywords if each.arg is not None}
        unpacked = len(keywords) < len(node.keywords) or any(isinstance(each, ast.Starred) for each in node.args)
        # Compiled classes have no signature.
        if function is None or inspect.isclass(function) or unpacked:
            return
        try:
            inspect.signature(function).bind(*node.args, **keywords)
        except TypeError as error:
            self._add(node, str(error))

    def _fields(self, function: ast.FunctionDef) -> None:
        """Find attributes that a struct lacks, of variables that hold one."""
        structs = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                for call in ast.walk(node.value):
                    if isinstance(call, ast.Attribute) and call.attr in STRUCTS and self._resolve(call.value):
                        structs[node.targets[0].id] = getattr(self._resolve(call.value), STRUCTS[call.attr])
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in structs:
                self._expect(node, structs[node.value.id])


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node, those of annotations in quotation marks too."""
    for node in ast.walk(tree):
        yield node
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            for text in ast.walk(annotation) if annotation is not None else ():
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield from quoted(text.value, text.lineno)


def quoted(text: str, line: int) -> Iterator[ast.AST]:
    """Yield the nodes of an annotation's text, or none where it is a help text inside `Annotated`."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.lineno = line
        yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_our_use_of_cuda_python_is_right(path: Path) -> None:
    assert Uses(path.read_text(encoding="utf-8")).problems == []


def test_the_names_that_we_use_are_found() -> None:
    names = {name.partition(".")[2] for path in FILES for name in Uses(path.read_text(encoding="utf-8")).names}
    assert {"cudaMalloc", "cudaError_t.cudaSuccess", "cudaMemcpyKind"} <= names


def test_the_real_package_is_what_is_asked() -> None:
    from cuda.bindings import runtime

    assert metadata.version("cuda-bindings")
    assert not (runtime.__file__ or ".py").endswith(".py")


RIGHT = [
    "from cuda.bindings import runtime as cudart\ncudart.cudaMemcpyAsync(1, 2, 3, cudart.cudaMemcpyKind(1), 5)",
    "from cuda.bindings import driver\ndriver.cuDeviceGet(ordinal=0)",
    "from cuda.bindings import nvrtc\nnvrtc.nvrtcVersion()",
    "import cuda.bindings.runtime as rt\nrt.cudaStreamSynchronize(rt.cudaStream_t(1))",
    "import cuda.bindings.driver\ncuda.bindings.driver.cuInit(0)",
    "from cuda.bindings.runtime import cudaFree as free\nfree(0)",
    "def f(sizes):\n    from cuda.bindings import runtime\n    runtime.cudaMemcpy(*sizes)",
    "def f(runtime):\n    runtime.anything()",
    "from cuda.bindings import runtime as c\ndef f():\n    p = check(c.cudaGetDeviceProperties(0))\n    return p.major",
]


@pytest.mark.parametrize("source", RIGHT)
def test_a_right_use_passes(source: str) -> None:
    assert Uses(source).problems == []


WRONG = [
    ("from cuda.bindings import runtime as cudart\ncudart.cudaMaloc(1)", "2: cudart.cudaMaloc: is not there"),
    ("from cuda.bindings import runtime as r\nr.cudaError_t.cudaSucess", "2: r.cudaError_t.cudaSucess: is not there"),
    ("from cuda.bindings import driver as d\nd.cuInit()", "2: d.cuInit(): missing a required argument: 'Flags'"),
    ("from cuda.bindings import driver as d\nd.cuInit(0, 1)", "2: d.cuInit(0, 1): too many positional arguments"),
    (
        "from cuda.bindings import driver as d\nd.cuDeviceGet(device=0)",
        "2: d.cuDeviceGet(device=0): missing a required argument: 'ordinal'",
    ),
    ("import cuda.bindings.nvrtc as n\nn.nvrtcVersions()", "2: n.nvrtcVersions: is not there"),
    ("import cuda.bindings.driver\ncuda.bindings.driver.cuInt(0)", "2: cuda.bindings.driver.cuInt: is not there"),
    ("from cuda.bindings.runtime import cudaFre", "1: from cuda.bindings.runtime import cudaFre: is not there"),
    ("from cuda.bindings.runtime import cudaFree\ncudaFree()", "2: cudaFree(): missing a required argument: 'devPtr'"),
    # The module's place before cuda-python 13.
    ("from cuda import cudart", "1: from cuda import cudart: is not there"),
    ("def f():\n    from cuda.bindings import runtimes", "2: from cuda.bindings import runtimes: is not there"),
    (
        "from cuda.bindings import runtime as c\ndef f(kind: 'c.cudaMemcpyKnd') -> None: ...",
        "2: c.cudaMemcpyKnd: is not there",
    ),
    (
        "from cuda.bindings import runtime as c\ndef f():\n    p = c.cudaGetDeviceProperties(0)[1]\n    return p.majr",
        "4: p.majr: is not there",
    ),
]


@pytest.mark.parametrize(("source", "problem"), WRONG)
def test_a_wrong_use_is_found(source: str, problem: str) -> None:
    assert Uses(source).problems == [problem]
