# Rules for a Makefile of yours:
#
#     include $(shell edgecompile --makefile)
#     EDGECOMPILE_TARGET      := intel-nuc
#     EDGECOMPILE_CALIBRATION := calibration_images
#
#     package: model.ir
#
# `model.ir` is then made from `model.onnx`, as are `model.engine` and `model.blob` for targets that
# take those. What comes out is the artifact: a file when it is one file, else a folder that holds
# its files. The whole build, with manifest, report and proof, lies beside it in `model.edge/`.
#
# It is made again when the model, the data, a recipe file or one of these settings changes:
#   EDGECOMPILE_TARGET       device, needed; `edgecompile targets` lists them
#   EDGECOMPILE_CALIBRATION  samples: a folder, an .npz or a dataset.yaml
#   EDGECOMPILE_EVAL         labelled samples for the task metric
#   EDGECOMPILE_RECIPE       recipe, by name or path
#   EDGECOMPILE_FLAGS        anything else, such as --budget 'cosine>=0.99'
# Set one of them for one model only with a target-specific variable:
#     detector.ir: EDGECOMPILE_RECIPE := detector.yaml
# Paths must not hold spaces, which make takes for separators.

EDGECOMPILE ?= edgecompile
EDGECOMPILE_TARGET ?=
EDGECOMPILE_CALIBRATION ?=
EDGECOMPILE_EVAL ?=
EDGECOMPILE_RECIPE ?=
EDGECOMPILE_FLAGS ?=

edgecompile_options = --target '$(EDGECOMPILE_TARGET)' \
  $(if $(EDGECOMPILE_CALIBRATION),--calibration '$(EDGECOMPILE_CALIBRATION)') \
  $(if $(EDGECOMPILE_EVAL),--eval '$(EDGECOMPILE_EVAL)') \
  $(if $(EDGECOMPILE_RECIPE),--recipe '$(EDGECOMPILE_RECIPE)') \
  $(EDGECOMPILE_FLAGS)

# Every file that the data and the recipe consist of. What a dataset.yaml names lies in its folder.
edgecompile_data := %.npy %.npz %.png %.jpg %.jpeg %.bmp %.webp %.txt
edgecompile_walk = $(foreach f,$(wildcard $(1)/*),$(f) $(call edgecompile_walk,$(f)))
edgecompile_folder = $(patsubst %/,%,$(dir $(1)))
edgecompile_files = $(wildcard $(1)) $(if $(filter %.yaml %.yml,$(1)), \
  $(filter $(edgecompile_data),$(call edgecompile_walk,$(call edgecompile_folder,$(1)))), \
  $(call edgecompile_walk,$(1)))
edgecompile_inputs = $(sort $(wildcard $(EDGECOMPILE_RECIPE)) $(foreach source, \
  $(EDGECOMPILE_CALIBRATION) $(EDGECOMPILE_EVAL),$(call edgecompile_files,$(source))))

define edgecompile_make
@test -n '$(EDGECOMPILE_TARGET)' || { \
  echo 'set EDGECOMPILE_TARGET; "$(EDGECOMPILE) targets" lists the devices' >&2; exit 2; }
@path=$$($(EDGECOMPILE) build '$<' $(edgecompile_options) --output '$*.edge') && rm -rf '$@' && \
if [ "$$(ls '$*.edge/artifacts' | wc -l)" -eq 1 ]; then cp "$$path" '$@'; \
else cp -R '$*.edge/artifacts' '$@'; fi && touch '$@' && echo '$@'
endef

# The settings of a model, written only when they differ: a changed setting makes it again.
edgecompile_settings = $(subst ','\'',$(edgecompile_options))
.PHONY: edgecompile-always
.PRECIOUS: .%.settings
.%.settings: edgecompile-always
	@printf '%s\n' '$(edgecompile_settings)' | cmp -s - '$@' || \
	  printf '%s\n' '$(edgecompile_settings)' > '$@'

.SECONDEXPANSION:
%.ir: %.onnx .%.settings $$(edgecompile_inputs)
	$(edgecompile_make)
%.engine: %.onnx .%.settings $$(edgecompile_inputs)
	$(edgecompile_make)
%.blob: %.onnx .%.settings $$(edgecompile_inputs)
	$(edgecompile_make)
