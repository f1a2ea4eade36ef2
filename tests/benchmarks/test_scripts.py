import importlib

import pytest

from tests.helpers.paths import ROOT

SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("benchmarks/**/*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_script_says_how_it_is_called(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [script, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(script).main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_every_command_of_the_benchmarks_readme_is_a_script():
    lines = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").splitlines()
    called = {line.split()[2] for line in lines if line.startswith("python -m benchmarks.")}
    assert called
    assert called <= set(SCRIPTS)
