"""Draw what each layer's quantisation costs: one bar per layer, the largest share of the noise on top.

The same figures give the same bytes with one version of matplotlib, whatever the user's own settings.
"""

import io
from typing import TYPE_CHECKING, Literal

from runtime.bundle.sensitivity_json import LayerSensitivity, Sensitivity
from runtime.errors import EngineError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["png", "svg"]

# Inches. A bar's pitch leaves its 8 point label (0.11 inches) air, so that 54 layers stay readable; the
# margin is what title and axis take.
_WIDTH, _PITCH, _MARGIN = 7.0, 0.19, 1.1
_POINTS = 8
_DOTS_PER_INCH = 150
# Room at the right of the longest bar for its label.
_ROOM = 1.16
# matplotlib names an SVG's parts by a salted hash, with a random salt unless it is given one.
_SALT = "export-ssl"
# Time stamps and versions that would change the bytes.
_METADATA: dict[Kind, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def draw_sensitivity(sensitivity: Sensitivity, *, title: str, kind: Kind = "svg") -> bytes:
    """Return the plot as a file's content.

    Args:
        sensitivity: What was measured.
        title: Title of the plot.
        kind: File format, such as `svg`.

    Raises:
        EngineError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EngineError(f"matplotlib cannot be imported ({error}): pip install 'export-ssl[export]'") from error
    content = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = _SALT
        # A Figure of its own, not pyplot's: that would keep it, and open a window system.
        height = _MARGIN + _PITCH * len(sensitivity.layers)
        figure = Figure(figsize=(_WIDTH, height), dpi=_DOTS_PER_INCH, layout="constrained")
        _draw_bars(figure.add_subplot(), sensitivity, title)
        figure.savefig(content, format=kind, metadata=_METADATA[kind])
    return content.getvalue()


def _draw_bars(axes: "Axes", sensitivity: Sensitivity, title: str) -> None:
    layers = sensitivity.layers
    shares = [100 * layer.noise_share for layer in layers]
    bars = axes.barh(range(len(layers)), shares, height=0.75, color="#3b6ea5")
    axes.bar_label(bars, labels=[_label(layer) for layer in layers], padding=3, fontsize=_POINTS - 1)
    axes.set_yticks(range(len(layers)), [layer.layer for layer in layers], fontsize=_POINTS)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, _ROOM * max(shares) or 1)
    axes.tick_params(axis="x", labelsize=_POINTS)
    axes.set_xlabel(
        "share of the quantisation noise in the output, %\n(at the bar: its SQNR with this layer alone quantised)",
        fontsize=_POINTS,
    )
    axes.set_title(title, fontsize=_POINTS + 2, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _label(layer: LayerSensitivity) -> str:
    return "no change" if layer.sqnr_only_db is None else f"{layer.sqnr_only_db:.1f} dB"
