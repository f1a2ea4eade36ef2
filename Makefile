# One environment for everything, made once and again when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# The demo's network and how it is exported, as a user would type it.
DIGITS = --model resnet18 --weights $(DEMO)/digits_resnet18.safetensors --labels $(DEMO)/digits_labels.txt \
	--licence CC0-1.0 --img-size 64 --interpolation bilinear --golden $(DEMO)/digits/train --overwrite

.PHONY: help env test test-gpu gate cpp test-thin lint types unit demo bench bench-int8 readme clean

help:
	@echo "make demo    train a real ResNet-18 on digits, export it, compare every engine, print a table"
	@echo "make test    environment, ruff, mypy --strict, all tests"
	@echo "make bench   the benchmarks behind the README's figures"
	@echo "make bench-int8"
	@echo "             train networks on fractals, then INT8 accuracy beside every peer; over an hour"
	@echo "make test-gpu"
	@echo "             build and run TensorRT plans on this machine's NVIDIA GPU"
	@echo "make gate    fail if an engine is significantly slower than the library that it calls"
	@echo "make cpp     build the C library and its examples; needs cmake, libjpeg, libpng, nlohmann-json"
	@echo "make test-thin"
	@echo "             install the runtime alone, newest and lowest versions, into fresh environments"

env: $(VENV)/.done

$(VENV)/.done: pyproject.toml tests/pillow_versions.txt tests/bindings_versions.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python tests/install_pillows.py
	$(BIN)/python tests/install_bindings.py
	touch $@

test: lint types unit

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

unit: env
	$(BIN)/pytest -n 2

# The regression gate of continuous integration: ratios of one run, never times of another machine.
gate: env
	$(BIN)/python benchmarks/ci_gate.py

# Builds and runs plans: needs an NVIDIA GPU and TensorRT, and skips with the reason where there is none.
test-gpu: env
	$(BIN)/pytest -m gpu tests/test_gpu.py || [ $$? -eq 5 ]  # 5: all of it skipped

# The C library and its examples, from this environment's OpenVINO and the system's cmake, compiler, libjpeg and libpng.
cpp: env
	$(BIN)/python -m tests.cpp_build

# Needs the network for pip, so it is not part of `test`.
test-thin: env
	$(BIN)/python tests/thin_install.py

demo: env
	$(BIN)/python benchmarks/train_digits.py $(DEMO)
	$(BIN)/export-ssl $(DIGITS) --output $(DEMO)/digits-fp32
	$(BIN)/export-ssl $(DIGITS) --output $(DEMO)/digits-fp16 --fp16
	$(BIN)/export-ssl $(DIGITS) --output $(DEMO)/digits-int8 --int8 --calib $(DEMO)/digits/train
	$(BIN)/export-ssl $(DIGITS) --output $(DEMO)/digits-int8-cpu --int8 --int8-target cpu --calib $(DEMO)/digits/train
	$(BIN)/run-ssl verify $(DEMO)/digits-fp32
	$(BIN)/run-ssl verify $(DEMO)/digits-fp16
	$(BIN)/run-ssl verify $(DEMO)/digits-int8
	$(BIN)/run-ssl verify $(DEMO)/digits-int8-cpu
	$(BIN)/run-ssl compare $(DEMO)/digits-fp32 $(DEMO)/digits-fp16 $(DEMO)/digits-int8 $(DEMO)/digits-int8-cpu \
		--data $(DEMO)/digits/val --save
	$(BIN)/run-ssl bench $(DEMO)/digits-fp32 $(DEMO)/digits-fp16 $(DEMO)/digits-int8 $(DEMO)/digits-int8-cpu --batch 1,8
	$(BIN)/run-ssl report $(DEMO)/digits-fp32 $(DEMO)/digits-fp16 $(DEMO)/digits-int8 $(DEMO)/digits-int8-cpu \
		--output $(DEMO)/report.html

# What `make cpp` builds; of the benchmarks, cpp_latency.py does too.
NATIVE := build/cpp/release-installed/lib/libresnet_engine.so
bench: env
	$(BIN)/python benchmarks/export_speed.py
	$(BIN)/python benchmarks/compare_throughput.py
	$(BIN)/python benchmarks/int8_speed.py --output benchmarks/results/int8_speed.json
	$(BIN)/python benchmarks/int8_latency.py --output benchmarks/results/int8_latency.json
	$(BIN)/python benchmarks/cpp_preprocess.py --output benchmarks/results/cpp_preprocess.json
	$(BIN)/python benchmarks/cpp_latency.py --output benchmarks/results/cpp_latency.json
	$(BIN)/python benchmarks/wrapper_overhead.py --output benchmarks/results/wrapper_overhead.json
	$(BIN)/python benchmarks/bench_agreement.py --output benchmarks/results/bench_agreement.json
	$(BIN)/python benchmarks/pipeline_throughput.py --output benchmarks/results/pipeline_throughput.json
	$(BIN)/python benchmarks/embed_throughput.py --native $(NATIVE) --output benchmarks/results/embed_throughput.json
	$(BIN)/python benchmarks/ray_overhead.py $(DEMO) --output benchmarks/results/ray_overhead.json

# The networks of the accuracy figures train for 40 minutes on two cores, and the peers take as long.
FRACTALS := fractals
bench-int8: env
	$(BIN)/python benchmarks/train_fractals.py $(FRACTALS)
	$(BIN)/python benchmarks/int8_accuracy.py $(FRACTALS) $(DEMO) --output benchmarks/results/int8_accuracy.json

readme: env
	$(BIN)/python benchmarks/update_readme.py
	$(BIN)/python benchmarks/scale_costs.py --write

clean:
	rm -rf $(VENV) $(DEMO) build dist
