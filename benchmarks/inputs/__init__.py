"""Networks trained here, for the demo and for the accuracy figures."""
