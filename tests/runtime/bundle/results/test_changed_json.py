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
    with pytest.raises(BundleError, match=r"is not a list of changed images .*run-ssl compare"):
        read_changes(tmp_path / "changed.json")
    (tmp_path / "changed.json").write_text('{"schema_version": 2, "engines": []}')
    with pytest.raises(BundleError, match="has schema version 2, this run-ssl reads up to 1"):
        read_changes(tmp_path / "changed.json")
    with pytest.raises(BundleError, match="No such file"):
        read_changes(tmp_path / "absent.json")
