# Everything runs in .venv, made from requirements.txt by the first target that needs it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
CPP_PACKAGES := g++ cmake nlohmann-json3-dev libjpeg-dev libpng-dev libtiff-dev libwebp-dev libgif-dev zlib1g-dev
PAGE_STAMP := deploy/page/node_modules/installed
OPENVINO_DIR = $$($(BIN)/python -c 'import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec("openvino").origin).parent / "cmake")')

.PHONY: help demo test cpp cpp-check cpp-packages page page-packages ray-packages submission lint format clean-demo
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: $(STAMP)  ## the whole recipe on embedded data, minutes on two cores; leaves runs/demo
	$(BIN)/python e4.py configs/demo.py
	$(BIN)/python m11.py configs/demo.py
	$(BIN)/python export_openvino.py runs/demo

test: $(STAMP)  ## all tests
	$(BIN)/python -m pytest

cpp: $(STAMP)  ## the C++ program build/cpp/classify and the platform's library build/cpp/lib/libji.so
	@command -v cmake >/dev/null && command -v g++ >/dev/null || { echo "On Debian and Ubuntu: apt-get install $(CPP_PACKAGES)"; exit 1; }
	cmake -S deploy/cpp -B build/cpp -DCMAKE_BUILD_TYPE=Release -DOpenVINO_DIR=$(OPENVINO_DIR) -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python
	cmake --build build/cpp --parallel

cpp-check: $(STAMP)  ## the C++ tests and 20,000 mutated pictures under sanitizers of memory, those with threads under one of threads
	cmake -S deploy/cpp -B build/sanitized -DSANITIZE=address -DOpenVINO_DIR=$(OPENVINO_DIR) -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python
	cmake --build build/sanitized --parallel
	ctest --test-dir build/sanitized --output-on-failure
	cmake -S deploy/cpp -B build/threads -DSANITIZE=thread -DOpenVINO_DIR=$(OPENVINO_DIR) -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python
	cmake --build build/threads --parallel --target write_networks test_batch test_ji
	ctest --test-dir build/threads --output-on-failure --no-tests=error -R '^(write_networks|batch|ji)$$'

cpp-packages:  ## the Debian packages that the C++ parts need
	@echo $(CPP_PACKAGES)

ray-packages: $(STAMP)  ## what --ray needs, by pip
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-ray.txt

page-packages: $(PAGE_STAMP)  ## what the page is made of and tested with, by npm

page: $(STAMP) $(PAGE_STAMP)  ## RUN=runs/x: a page that runs the student in a browser, RUN/deploy/page
	$(BIN)/python export_openvino.py $(RUN) --page $(OPTIONS)

submission: cpp  ## RUN=runs/x: what is handed in, RUN/submission, proved from a clean folder
	$(BIN)/python -m recipe.submission $(RUN)

lint: $(STAMP)  ## linter and formatter, checking only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## format all files
	$(BIN)/ruff format .

clean-demo:  ## remove runs/demo, so that the demo starts again
	rm -rf runs/demo

# The stamp appears only when pip has finished, so an interrupted installation is taken up again.
$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
# Two packages bring the same folder cv2; the one that needs no desktop libraries (libGL) must come last.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --force-reinstall --no-deps $$(grep ^opencv-python-headless requirements.txt)
	touch $@

# ONNX Runtime for browsers, and what tests the page.
$(PAGE_STAMP): deploy/page/package-lock.json
	@command -v npm >/dev/null || { echo "Node.js with npm is needed; on Debian and Ubuntu: apt-get install nodejs npm"; exit 1; }
	npm ci --prefix deploy/page --ignore-scripts --no-audit --no-fund
	touch $@
