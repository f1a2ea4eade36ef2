"""Run exported bundles on a device: bundle, preprocessing, engines, comparison. Imports no torch and no onnx."""
