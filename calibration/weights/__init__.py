"""INT8 weights: scales, layer-wise rounding, bias correction, equalisation."""
