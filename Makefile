# One environment for everything, made once and again when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# The demo's network and how it is exported, as a user would type it.
DIGITS = --model resnet18 --weights $(DEMO)/digits_resnet18.safetensors --labels $(DEMO)/digits_labels.txt \
	--licence CC0-1.0 --img-size 64 --interpolation bilinear --golden $(DEMO)/digits/train --overwrite

# Some machines forbid Python to keep what it compiled: then every process that a test starts compiles it again, and each
# worker all tests.
unexport PYTHONDONTWRITEBYTECODE
# Two workers share two processors: more threads of PyTorch and OpenBLAS would only wait for one another.
unit fast coverage: export OMP_NUM_THREADS := 1

.PHONY: help env test fast coverage fresh test-arm64 torture ray-stress mutation test-gpu gate cpp bounds same-bytes \
	test-thin release lint types unit demo bench bench-int8 readme reference picture docs clean

help:
	@echo "make demo    train a real ResNet-18 on digits, export it, compare every engine, print a table"
	@echo "make test    environment, ruff, mypy --strict, all tests"
	@echo "make fast    the tests to run before each commit: nothing slow, no C++, no Ray, no browser"
	@echo "make coverage"
	@echo "             all tests, and which branches of runtime, calibration and exporter they take"
	@echo "make fresh   demo, tests and continuous integration in a bare Debian 12; needs root, debootstrap, an hour"
	@echo "make torture hostile files, kills, lost power, full disks, long runs, within an hour; writes docs/reliability.md"
	@echo "make mutation"
	@echo "             change the code in small ways, and count what the tests see; writes docs/mutants.md"
	@echo "make ray-stress"
	@echo "             a job on three nodes of Ray in network namespaces, which are killed and cut; needs root, iproute2"
	@echo "make test-arm64"
	@echo "             the thin runtime and the C library on ARM64, in QEMU; needs root, debootstrap, qemu-user-static"
	@echo "make bench   the benchmarks behind the figures in the documents"
	@echo "make docs    the documents as a site, in build/site"
	@echo "make readme  renew outputs and figures in the documents; make picture, the picture of the report"
	@echo "make reference"
	@echo "             renew docs/reference from the code"
	@echo "make bench-int8"
	@echo "             train networks on fractals, then INT8 accuracy beside every peer; two hours"
	@echo "make test-gpu"
	@echo "             build and run TensorRT plans on this machine's NVIDIA GPU"
	@echo "make gate    fail if an engine is significantly slower than the library that it calls"
	@echo "make cpp     build the C library and its examples; needs cmake, libjpeg, libpng, nlohmann-json"
	@echo "make bounds  every extra in its lowest and its newest versions, used in fresh environments; an hour"
	@echo "make test-thin"
	@echo "             the same of the runtime alone, and of the extra cpu"
	@echo "make same-bytes"
	@echo "             which files have the same bytes again, in another environment, on other processors; an hour"
	@echo "make release"
	@echo "             build wheel and sdist, check both, and try the tutorial in a fresh environment with each"

env: $(VENV)/.done

# The header has the version.
$(VENV)/.done: pyproject.toml runtime/cpp/include/resnet_engine.h tests/helpers/pillow/pillow_versions.txt tests/tensorrt_bindings/bindings_versions.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python tests/helpers/pillow/install_pillows.py
	$(BIN)/python tests/tensorrt_bindings/install_bindings.py
	touch $@

# mypy has one process: it runs beside the tests.
test: lint
	@$(MAKE) --no-print-directory --jobs 2 types unit

# What is left out stands in tests/helpers/lanes.py.
fast: env
	$(BIN)/pytest -n 2 --fast

coverage: env
	$(BIN)/pytest -n 2 --cov --cov-report=term

# A clean clone of this checkout in a Debian 12 that has Python, make and a compiler alone: it shows a missing install step.
fresh:
	bash tests/house/fresh_machine.sh

# Counts in build/, and docs/reliability.md of them. Within an hour on two idle cores; `INPUTS=100000` takes hours. Some
# tries need root: without it they are left out, and the page shows it. Each program goes on where another found a fault.
INPUTS ?= 10000
TORTURE = $(BIN)/python -m tests.torture.
torture: env
	@mkdir -p build
	@$(BIN)/python -c "from pathlib import Path; from tests.torture.each_command import made_inputs; \
		inputs = Path('build/torture-inputs'); inputs.is_dir() or made_inputs(inputs.absolute())"
	@code=0; \
	$(TORTURE)fuzz --inputs $(INPUTS) --json build/fuzz.json || code=1; \
	$(TORTURE)guided --seconds 10 --json build/guided.json || code=1; \
	$(TORTURE)faults --tries 50 --minutes 12 --inputs build/torture-inputs --json build/faults.json || code=1; \
	$(TORTURE)power --tries 500 --minutes 8 --inputs build/torture-inputs --json build/power.json || code=1; \
	$(TORTURE)disk --tries 4 --minutes 8 --inputs build/torture-inputs --json build/disk.json || code=1; \
	$(TORTURE)endurance --json build/endurance.json || code=1; \
	$(TORTURE)write_reliability; exit $$code

# Mutants of each part, one after the other. Needs the network for pip, so it is not part of `test`.
MUTANTS ?= 40
mutation: env
	$(BIN)/python -m pip install --quiet --editable '.[mutation]'
	$(BIN)/python -m tests.mutation.run --mutants $(MUTANTS)
	$(BIN)/python -m tests.mutation.write_page

# An embedding job on three nodes of Ray, in namespaces of this machine, while workers, nodes, disks and networks fail; about
# 40 minutes. It says what is missing where it cannot run, and the page keeps its table then.
RAY_IMAGES ?= 50000
ray-stress: env
	@mkdir -p build
	@code=0; $(TORTURE)ray_stress --images $(RAY_IMAGES) --json build/ray_stress.json || code=1; \
	$(TORTURE)write_reliability; exit $$code

# Bundles of every kind, preprocessing, an embedding job and the C library in a Debian arm64 that is made once and kept.
test-arm64: env
	bash tests/house/arm64_machine.sh

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

unit: env
	$(BIN)/pytest -n 2

# The regression gate of continuous integration: ratios of one run, never times of another machine.
gate: env
	$(BIN)/python -m benchmarks.bench.ci_gate

# Builds and runs plans: needs an NVIDIA GPU and TensorRT, and skips with the reason where there is none.
test-gpu: env
	$(BIN)/pytest -m gpu tests/gpu/test_gpu.py || [ $$? -eq 5 ]  # 5: all of it skipped

# The C library and its examples, from this environment's OpenVINO and the system's cmake, compiler, libjpeg and libpng.
cpp: env
	$(BIN)/python -m tests.helpers.cpp.build

# They need the network, and uv, which chooses lowest versions, so they are no part of `test`. Interpreters are those that
# uv finds; what was tried is in benchmarks/results/bounds.json, and `make readme` shows it.
BOUNDS = $(BIN)/python -m tests.bounds.try_bounds
bounds: env
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	$(BOUNDS)

test-thin: env
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	@mkdir -p build
	$(BOUNDS) --only base cpu --json build/bounds.json

# The table of docs/reference/stability.md. Emulated processors need qemu-user-static, and are left out without it.
same-bytes: env
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	$(BIN)/python -m tests.torture.same_bytes
	$(BIN)/python -m tests.torture.same_bytes --write

# Wheel and sdist in dist/, checked, and each tried in a fresh environment. Needs the network for pip, and disk for PyTorch.
release: env
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	$(BIN)/python tests/house/try_release.py

demo: env
	$(BIN)/python -m benchmarks.inputs.train_digits $(DEMO)
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

# What `make cpp` builds; of the benchmarks, benchmarks/cpp/latency.py does too.
NATIVE := build/cpp/release-installed/lib/libresnet_engine.so
bench: env
	$(BIN)/python -m benchmarks.export.speed
	$(BIN)/python -m benchmarks.compare.throughput
	$(BIN)/python -m benchmarks.int8.speed --output benchmarks/results/int8_speed.json
	$(BIN)/python -m benchmarks.int8.latency --output benchmarks/results/int8_latency.json
	$(BIN)/python -m benchmarks.cpp.preprocess --output benchmarks/results/cpp_preprocess.json
	$(BIN)/python -m benchmarks.cpp.latency --output benchmarks/results/cpp_latency.json
	$(BIN)/python -m benchmarks.bench.wrapper_overhead --output benchmarks/results/wrapper_overhead.json
	$(BIN)/python -m benchmarks.bench.agreement --output benchmarks/results/bench_agreement.json
	$(BIN)/python -m benchmarks.embed.pipeline --output benchmarks/results/pipeline_throughput.json
	$(BIN)/python -m benchmarks.embed.throughput --native $(NATIVE) --output benchmarks/results/embed_throughput.json
	$(BIN)/python -m benchmarks.embed.ray_overhead $(DEMO) --output benchmarks/results/ray_overhead.json

# The networks of the accuracy figures train for over an hour on two cores, and the peers take as long.
FRACTALS := fractals
bench-int8: env
	$(BIN)/python -m benchmarks.inputs.train_digits $(DEMO) --model resnet50
	$(BIN)/python -m benchmarks.inputs.train_fractals $(FRACTALS) --model resnet18
	$(BIN)/python -m benchmarks.inputs.train_fractals $(FRACTALS) --model resnet50 --start $(DEMO)/digits_resnet50.safetensors
	$(BIN)/python -m benchmarks.int8.accuracy $(FRACTALS) $(DEMO) --output benchmarks/results/int8_accuracy.json

readme: env reference
	$(BIN)/python -m benchmarks.documents.update_documents
	$(BIN)/python -m benchmarks.documents.scale_costs --write

# docs/reference/ from the commands, schemas, docstrings and messages; a test fails when a page is stale.
reference: env
	$(BIN)/python -m benchmarks.documents.write_reference

# The picture of the report in the documents: needs Chromium, and the page that `make demo` writes.
picture: env
	$(BIN)/python -m benchmarks.documents.report_picture

# Strict: a page that is missing from the site, or a link that leads nowhere, is an error.
docs: env
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/zensical build --clean --strict

clean:
	rm -rf $(VENV) $(DEMO) build dist
