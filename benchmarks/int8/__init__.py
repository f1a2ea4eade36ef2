"""INT8 accuracy, speed and latency beside every peer."""
