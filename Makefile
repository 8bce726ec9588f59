# `make demo` shows the project at work, `make test` runs all its tests. Both install into .venv first, pinned; nothing else is touched.
# `make model FROM=outputs/small/int8` puts a finished model into the package.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
PYTEST_ARGS ?=

.PHONY: demo test setup docs notebooks readme model clean

# First the model of the package answers, then one is trained from the bundled samples.
demo: setup
	$(VENV)/bin/emotion predict "Thank you so much, this made my day!" "I am so angry right now" "Wait, what? Really?" "Cảm ơn bạn nhiều!" "Tức quá đi mất" "Mai họp lúc chín giờ."
	$(VENV)/bin/emotion train --config quickstart --output_dir outputs
	$(VENV)/bin/emotion predict --model_path outputs/int8 --onnx --text "Cảm ơn bạn nhiều!" --text "I am so angry right now" --text "Ủa thật hả?" --text "The meeting is at nine."

test: setup
	$(PY) -m pytest -q -n 2 --dist loadgroup tests $(PYTEST_ARGS)

docs: setup
	$(PY) tools/docs.py

# Execute all notebooks and save their outputs (cells flagged slow, net or gpu keep theirs), then clean and export.
notebooks: setup
	$(PY) tools/run_notebooks.py
	$(VENV)/bin/nbdev_clean
	$(VENV)/bin/nbdev_export

# ENCODER is the folder of tools/make_encoder.py that training started from, REPORT what `emotion evaluate --cards` wrote.
model: setup
	$(if $(FROM),,$(error name the INT8 folder, as in: make model FROM=outputs/small/int8))
	$(PY) tools/make_model.py "$(FROM)" $(if $(ENCODER),--encoder "$(ENCODER)") $(if $(REPORT),--report "$(REPORT)")

setup: $(VENV)/ready

# Debian without python3-venv has no ensurepip: then the system's pip puts a pip into the new environment.
$(VENV)/ready: constraints.txt settings.ini setup.py
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, this is ' + sys.version.split()[0])"
	@echo "Setting up $(VENV): about 180 packages, a few minutes the first time" >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install -q -c constraints.txt pip; }
	$(PY) -m pip install -q -c constraints.txt pip setuptools wheel
	$(PY) -m pip install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) _docs _proc outputs .cache build dist *.egg-info
