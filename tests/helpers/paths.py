"""Places of the repository that tests need."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "runtime" / "cpp"
PHOTOGRAPHS = ROOT / "exporter" / "photographs"
