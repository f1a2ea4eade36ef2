"""How figures are written in sentences and tables."""


def percent(share: float) -> str:
    """Return a fraction as a percentage with two decimals, without the sign: 0.7262 -> `72.62`."""
    # Adding 0.0 after rounding turns -0.0 into 0.0.
    return f"{round(100 * share, 2) + 0.0:.2f}"


def p_value(p: float) -> str:
    """Return a p-value in at most seven characters."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
