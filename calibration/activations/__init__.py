"""What activations do on images: exact extremes, histograms, and clipping thresholds from them."""
