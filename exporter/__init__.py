"""From a timm model to a verified bundle: weights, trace, simplify, precision, verification."""
