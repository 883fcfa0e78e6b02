# One target per table of the paper: make the data, fit the runs, measure, compare. `make paper-table-1` needs a GPU
# (texts by vLLM, ViT-L/14), open_clip's weights, and the sets in their official layouts, each in a folder of SETS
# or linked from elsewhere by a variable of its own:
#   make paper-table-1 SETS=/sets CUB_200_2011=/elsewhere/CUB_200_2011
# Stopped anywhere, the same command goes on. `make paper-table-1-smoke` runs the same files and commands on small
# stand-ins, in minutes and without a GPU; SMOKE is the folder of overlays for that.
SETS ?= data/downloads
SMOKE ?=
SMOKE_PLACE := $(RUNS)/paper-smoke
WRITER ?= vllm-env
P := experiments/paper
W := data_recipes/paper
CLASS_NAMES := pcclip/evaluation/sources/texts
smoke = $(if $(SMOKE),--config $(SMOKE)/$(1).yaml)

## -- sets -------------------------------------------------------------------------------------
# $(1) folder of the official layout, at the place that the YAML files name
define official
$(1) ?= $(SETS)/$(1)
data/downloads/$(1):
	@test -e "$$($(1))" || { echo "$$($(1)) is not there: fetch the set, and say SETS=FOLDER or $(1)=FOLDER/$(1)"; exit 1; }
	@mkdir -p $$(@D) && ln -s "$$(abspath $$($(1)))" $$@
endef
$(foreach set,cifar-100-python CUB_200_2011 Animals_with_Attributes2 flowers-102 SUN397 eurosat coco,$(eval $(call official,$(set))))
ZERO_SHOT_SETS := data/downloads/cifar-100-python data/downloads/CUB_200_2011 data/downloads/eurosat data/downloads/flowers-102 data/downloads/SUN397

## -- texts and pictures to train on --------------------------------------------------------------
data/coco/CARD.md: | env data/downloads/coco
	$(PCCLIP) prepare --config data_recipes/coco/pictures.yaml

data/coco-llama2-13b/CARD.md: | $(WRITER) data/coco/CARD.md
	$(PCCLIP) write --config data_recipes/coco/llama2_13b.yaml $(call smoke,pairs) $(call smoke,writer)

data/coco-rewritten-all/CARD.md: | $(WRITER) data/coco/CARD.md
	$(PCCLIP) write --config data_recipes/coco/rewritten_captions.yaml --rows.sample 0 --out $(@D) $(call smoke,writer)

CUB_CAPTIONS ?=
data/cub/CARD.md: | env data/downloads/CUB_200_2011
	$(PCCLIP) prepare --config data_recipes/cub/pictures.yaml $(if $(CUB_CAPTIONS),--source.captions $(CUB_CAPTIONS))

data/cub-differences/CARD.md: | $(WRITER) data/cub/CARD.md
	$(PCCLIP) write --config data_recipes/cub/differences.yaml $(call smoke,pairs) $(call smoke,writer)

data/cub-test-differences/CARD.md: | $(WRITER) data/cub/CARD.md
	$(PCCLIP) write --config data_recipes/cub/differences.yaml --config data_recipes/cub/test_differences.yaml $(call smoke,pairs) $(call smoke,writer)

DOMAIN_cifar100 := thing
DOMAIN_cub := bird
DOMAIN_eurosat := kind of land on a satellite photo
DOMAIN_flowers102 := flower
DOMAIN_sun397 := place
about = --rows.classes $(CLASS_NAMES)/$(1).yaml --rows.name $(1) --rows.domain "$(DOMAIN_$(1))"

data/paper/class-descriptions/%/CARD.md: | $(WRITER)
	$(PCCLIP) write --config $(W)/class_descriptions.yaml --out $(@D) $(call about,$*) $(call smoke,writer)

data/paper/class-pairs/%/CARD.md: | $(WRITER)
	$(PCCLIP) write --config $(W)/class_pairs.yaml --out $(@D) $(call about,$*) $(call smoke,writer)

## -- runs -------------------------------------------------------------------------------------
# $(1) run, $(2) its configurations from left to right, $(3) its data
define paper_run
$(RUNS)/paper-$(1)/seed%/summary.json: | env $(3) data/downloads/cifar-100-python
	$$(call fit,paper-$(1),seed$$*,$(2:%=--config $(P)/%.yaml) $(call smoke,fit) --seed_everything $$*)
endef
COCO := data/coco-llama2-13b/CARD.md
BANK := $(RUNS)/paper-pc-clip/seed%/summary.json  # this run makes the embedding bank of COCO for the others
$(eval $(call paper_run,pc-clip,pc_clip,$(COCO)))
$(eval $(call paper_run,captions,pc_clip captions,data/coco/CARD.md $(BANK)))
$(eval $(call paper_run,rewritten-captions,pc_clip captions rewritten_captions,data/coco-rewritten-all/CARD.md $(BANK)))
$(eval $(call paper_run,pc-clip-tuned,pc_clip pc_clip_tuned,$(COCO) $(BANK)))
$(eval $(call paper_run,mse,pc_clip mse,$(COCO) $(BANK)))
$(eval $(call paper_run,cub,pc_clip cub,data/cub-differences/CARD.md))
$(eval $(call paper_run,vit-h-14,pc_clip vit_h_14,$(COCO)))
$(eval $(call paper_run,vit-l-14-openai,pc_clip vit_l_14_openai,$(COCO)))
PAPER_RUNS ?= $(addprefix paper-,pc-clip captions rewritten-captions pc-clip-tuned)

## -- tables -----------------------------------------------------------------------------------
define NEWLINE


endef
# $(1) number, $(2) suites, $(3) runs, $(4) sets and texts
define paper_table
.PHONY: paper-table-$(1) paper-table-$(1)-smoke
paper-table-$(1): $(4) $(call runs_of,$(3),/summary.json)
	$(foreach suite,$(2),$$(call evaluated,paper/$(suite),$(3),paper-table-$(1)-$(suite))$$(NEWLINE))

paper-table-$(1)-smoke: $(SMOKE_PLACE)/Makefile
	$$(smoke_make) paper-table-$(1)
endef
DESCRIPTIONS := $(patsubst %,data/paper/class-descriptions/%/CARD.md,cifar100 cub eurosat flowers102 sun397)
PAIRS := $(patsubst %,data/paper/class-pairs/%/CARD.md,cifar100 cub eurosat flowers102 sun397)
DIFFERENCE_SETS := data/cub-test-differences/CARD.md data/downloads/cifar-100-python data/downloads/CUB_200_2011 data/downloads/Animals_with_Attributes2 data/downloads/flowers-102
$(eval $(call paper_table,1,table_1_difference,$(PAPER_RUNS),$(DIFFERENCE_SETS)))
$(eval $(call paper_table,2,table_2_zero_shot,$(PAPER_RUNS),$(ZERO_SHOT_SETS)))
$(eval $(call paper_table,3,table_3_comparative,$(PAPER_RUNS),$(ZERO_SHOT_SETS) $(PAIRS)))
$(eval $(call paper_table,4,table_4_descriptions,$(PAPER_RUNS),$(ZERO_SHOT_SETS) $(DESCRIPTIONS)))
$(eval $(call paper_table,5,table_5_geometry,$(PAPER_RUNS),$(ZERO_SHOT_SETS) $(PAIRS)))
$(eval $(call paper_table,7,table_7_retrieval,$(PAPER_RUNS),data/downloads/coco))
$(eval $(call paper_table,8,table_8_linear_probe,paper-pc-clip,$(ZERO_SHOT_SETS)))
# Table 6 draws pictures, with a tower of its own.
.PHONY: paper-table-6 paper-table-6-smoke
paper-table-6: $(call runs_of,paper-vit-l-14-openai,/summary.json)
	$(PCCLIP) arithmetic --config $(P)/table_6_arithmetic.yaml $(call smoke,arithmetic) --runs "[$(subst $(empty) ,$(comma),$(strip $(call runs_of,paper-vit-l-14-openai)))]"
	$(PCCLIP) compare $(call runs_of,paper-vit-l-14-openai) --suite table_6_arithmetic --plot $(RUNS)/paper-table-6.png

paper-table-6-smoke: $(SMOKE_PLACE)/Makefile
	$(smoke_make) paper-table-6
# The ablations: the measures of tables 1 and 2.
ABLATIONS ?= paper-pc-clip paper-cub paper-mse
$(eval $(call paper_table,9,table_1_difference table_2_zero_shot,paper-vit-h-14,$(DIFFERENCE_SETS) $(ZERO_SHOT_SETS)))
$(eval $(call paper_table,10,table_1_difference table_2_zero_shot,$(ABLATIONS),$(DIFFERENCE_SETS) $(ZERO_SHOT_SETS)))
PAPER_TABLES := 1 2 3 4 5 6 7 8 9 10
paper: $(PAPER_TABLES:%=paper-table-%)  ## every table of the paper (paper-table-1 ...; needs a GPU, weights and sets: see experiments/paper/tables.mk)

## -- smoke ------------------------------------------------------------------------------------
# The same targets in a folder of their own, where stand-ins are what the sets would be.
$(SMOKE_PLACE)/Makefile: | env
	mkdir -p $(@D)
	PYTHONPATH=$(CURDIR) $(VENV)/bin/python -m tests.smoke.make $(@D)
	ln -sfn $(addprefix $(CURDIR)/,experiments data_recipes pcclip tests pyproject.toml constraints.txt) $(@D)
	ln -sfn $(CURDIR)/Makefile $@

smoke_make = PYTHONPATH=$(CURDIR) OMP_NUM_THREADS=1 $(MAKE) -C $(SMOKE_PLACE) -o env VENV=$(abspath $(VENV)) SMOKE=tests/smoke WRITER=env \
	SETS=$(abspath $(SMOKE_PLACE))/sets PCCLIP="$(abspath $(VENV))/bin/python -m tests.smoke.cli"

# Every experiment and every suite, though not each of these with all of those. Two make calls, since table 10
# compares with a run that tables 1 and 2 measure.
paper-smoke: $(SMOKE_PLACE)/Makefile  ## every table of the paper on small stand-ins: the same files and commands, minutes, no GPU
	@echo "two tables at a time; what they print: $(SMOKE_PLACE)/log"
	@{ $(smoke_make) -j2 PAPER_RUNS=paper-pc-clip $(filter-out paper-table-9 paper-table-10,$(PAPER_TABLES:%=paper-table-%)) \
	  && $(smoke_make) -j2 ABLATIONS="paper-pc-clip paper-cub" paper-fits paper-table-9 paper-table-10; } \
	  > $(SMOKE_PLACE)/log 2>&1 || { tail -30 $(SMOKE_PLACE)/log; exit 1; }
	@echo "all tables of the paper: done"

.PHONY: paper-fits
paper-fits: $(foreach run,pc-clip captions rewritten-captions pc-clip-tuned mse cub vit-h-14 vit-l-14-openai,$(call runs_of,paper-$(run),/summary.json))
