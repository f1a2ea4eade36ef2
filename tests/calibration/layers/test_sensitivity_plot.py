import builtins
import io
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from calibration.layers.sensitivity_plot import Kind, draw_sensitivity
from runtime.bundle.sensitivity_json import LayerSensitivity, Sensitivity
from runtime.errors import EngineError


def measured(layers: int) -> Sensitivity:
    shares = 0.5 ** np.arange(1, layers + 1)
    return Sensitivity(
        layers=tuple(
            LayerSensitivity(layer=f"layer{i}.conv", sqnr_only_db=30.04 + i, noise_share=share)
            for i, share in enumerate(shares.tolist())
        ),
        sqnr_all_db=28.0,
        additivity_db=0.1,
        images=64,
    )


def read_png(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figures_give_the_same_bytes_whatever_the_user_has_set(kind: Kind) -> None:
    first = draw_sensitivity(measured(3), title="noise", kind=kind)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20, "savefig.dpi": 30, "svg.hashsalt": "other"}):
        assert draw_sensitivity(measured(3), title="noise", kind=kind) == first


def test_the_users_own_settings_come_back() -> None:
    with matplotlib.rc_context({"font.size": 20}):
        draw_sensitivity(measured(1), title="noise")
        assert matplotlib.rcParams["font.size"] == 20


def test_the_svg_names_title_layers_and_sqnr_and_no_date() -> None:
    # Text is drawn as outlines; matplotlib writes what it says beside them, as comments.
    svg = draw_sensitivity(measured(3), title="noise by layer").decode()
    for text in ("noise by layer", "layer0.conv", "layer2.conv", "30.0 dB", "32.0 dB"):
        assert f"<!-- {text} -->" in svg
    assert svg.index("layer0.conv") < svg.index("layer2.conv")
    assert "<dc:date>" not in svg


def test_a_layer_that_changes_nothing_says_so() -> None:
    still = Sensitivity(
        layers=(LayerSensitivity(layer="conv1", sqnr_only_db=None, noise_share=0.0),),
        sqnr_all_db=None,
        additivity_db=None,
        images=1,
    )
    assert b"<!-- no change -->" in draw_sensitivity(still, title="noise")


def test_54_layers_get_the_height_that_their_names_need() -> None:
    image = read_png(draw_sensitivity(measured(54), title="noise", kind="png"))
    # A label of 8 points at 150 dots per inch is 17 pixels high.
    assert image.height >= 54 * 17 * 1.3
    assert image.height <= 54 * 17 * 3
    assert image.width == 1050


def test_the_longest_bar_is_on_top() -> None:
    pixels = np.asarray(read_png(draw_sensitivity(measured(4), title="noise", kind="png")).convert("RGB")).astype(int)
    # Bars are the only blue: each run of rows with blue in them is one bar.
    blue = ((pixels[:, :, 2] - pixels[:, :, 0]) > 60).sum(axis=1)
    inside = blue > 5
    starts = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
    lengths = [int(blue[start + 3]) for start in starts]
    assert len(lengths) == 4
    np.testing.assert_allclose(np.array(lengths) / lengths[0], [1, 1 / 2, 1 / 4, 1 / 8], atol=0.01)


def test_without_matplotlib_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError("No module named 'matplotlib'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match=r"pip install 'export-ssl\[export\]'"):
        draw_sensitivity(measured(1), title="noise")
