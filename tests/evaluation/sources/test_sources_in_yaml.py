"""Every source is made from YAML by its class path, as `pcclip evaluate` does."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser
from set_making import save

from pcclip.evaluation.evaluate import evaluate
from pcclip.evaluation.sets import SetSource

SOURCES = {
    "torchvision_sets.CIFAR100": "{root: data/downloads, download: false, validation: 0.1}",
    "torchvision_sets.Flowers102": "{root: data/downloads}",
    "torchvision_sets.Food101": "{root: data/downloads, seed: 3}",
    "torchvision_sets.SUN397": "{root: data/downloads, train: 0.5, validation: 0.1}",
    "eurosat.EuroSAT": "{root: data/downloads, prompts: one}",
    "imagenet.ImageNet": "{root: /data/imagenet, prompts: openai}",
    "cub.CUB": "{root: data/CUB_200_2011, allow_missing: true}",
    "awa2.AwA2": "{root: data/AwA2, class_names: {antelope: gnu}}",
    "folders.Folders": "{root: data/pets, class_names: [cat, dog], class_names_in_order: true}",
    "clip_benchmark.ClipBenchmark": "{root: data/wds, name: vtab/eurosat, address: 'https://x/{dataset_cleaned}'}",
    "captions.COCO": "{captions: {test: a.json, validation: b.json}, images: data/val2017}",
    "captions.Flickr30k": "{captions: dataset_flickr30k.json, images: data/flickr30k-images}",
}


def source_of(path: str, settings: str) -> SetSource:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(evaluate)
    config = parser.parse_string(
        f"suite: x\nevaluations:\n  - data: {{class_path: {path}, init_args: {settings}}}\n"
        "    protocols: [{class_path: pcclip.evaluation.protocols.zero_shot.ZeroShot}]\n"
    )
    return parser.instantiate(config).evaluations[0].source()


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_made_by_its_class_path(name: str):
    source = source_of(f"pcclip.evaluation.sources.{name}", SOURCES[name])
    assert type(source).__name__ == name.partition(".")[2]


def test_settings_reach_the_set(tmp_path: Path):
    save(tmp_path / "cat" / "1.png", 1)
    settings = f"{{root: {tmp_path}, name: pets, class_names: {{cat: kitten}}, prompts: ['a {{}}', '{{}}']}}"
    found = source_of("pcclip.evaluation.sources.folders.Folders", settings).load("all")
    assert (found.name, found.classes, found.prompts) == ("pets", ("kitten",), ("a {}", "{}"))
