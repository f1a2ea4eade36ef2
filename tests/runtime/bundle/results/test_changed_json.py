import pytest

from runtime.bundle.results.changed_json import Changes, EngineChanges, read_changes, write_changes
from runtime.errors import BundleError


def test_changes_come_back_from_their_file(tmp_path):
    changes = Changes(
        engines=(EngineChanges(bundle="b", engine="openvino", precision="int8", images=3, changed=0, kept=()),)
    )
    write_changes(tmp_path / "changed.json", changes)
    assert read_changes(tmp_path / "changed.json") == changes
    (tmp_path / "changed.json").write_text("[]")
    with pytest.raises(BundleError, match="run-ssl compare"):
        read_changes(tmp_path / "changed.json")
