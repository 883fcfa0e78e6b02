"""The pages of classes that configurations name, from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from docstring_parser import parse_from_object  # of jsonargparse's own requirements
from docstring_parser.common import Docstring

from pcclip.docs.making.text import anchor, escaped, one_line, page, table, type_name, value

# Title and words of a page; then per section its heading and where classes are taken from: `module:Class` for
# one, `package:Base` for all that are derived from it, a base written as `package>module:Base`.
_PAGES: dict[str, tuple[str, str, dict[str, Sequence[str]]]] = {
    "training.md": (
        "Training",
        "Classes of `pcclip fit`: `class_path` names one, `init_args` holds its arguments.",
        {
            "Model": ("pcclip.training:DifferenceTraining",),
            "Objectives": (
                "pcclip.objective>pcclip.objective:DifferenceObjective",
                "pcclip.objective:CaptionInfoNCE",
            ),
            "Adapters": ("pcclip.model.lora:LoraOptions",),
            "Optimiser": ("pcclip.optim:MuonAdamW",),
            "Data": ("pcclip.data.datamodule:DifferenceData", "pcclip.data.remote.options:RemoteOptions"),
            "Callbacks": (
                "pcclip.callbacks>lightning.pytorch:Callback",
                "pcclip.evaluation.bench:Evaluation",
                "pcclip.callbacks.evaluation:Interpolation",
            ),
            "Ranges of a sweep": ("pcclip.sweep.ranges:Range",),
        },
    ),
    "data.md": (
        "Pictures and pairs",
        "Sources of `pcclip prepare` (`source`), and rows of `pcclip write` (`rows`).",
        {
            "Sources": ("pcclip.data.sources>pcclip.data.sources.base:CaptionedPictures",),
            "Words for your own columns": ("pcclip.data.sources.own:DegreeWords",),
            "Differences by rules": ("pcclip.data.triples:Differences",),
            "Rows": ("pcclip.generation>pcclip.generation.rows:RowSource",),
            "Pairs": ("pcclip.generation.pairs:PairPlan",),
            "Texts to be judged": ("pcclip.generation.judging.texts:TextSample",),
        },
    ),
    "writers.md": (
        "Writers, prompts and filters",
        "Who writes the differences (`writer`), how they are asked, and what is accepted (`pcclip write`).",
        {
            "Writers": (
                "pcclip.generation.writers>pcclip.generation.writers.base:Writer",
                "pcclip.generation.writers.ray_cluster:RayWorkers",
            ),
            "Asking": (
                "pcclip.generation.prompts:PromptTemplate",
                "pcclip.generation.prompts:Example",
                "pcclip.generation.writers.base:Sampling",
            ),
            "Accepting": (
                "pcclip.generation.filter_check:Filter",
                "pcclip.generation.filters.types:Limits",
                "pcclip.generation.filter_check:NoRepeats",
                "pcclip.generation.duplicates:DuplicateLimits",
            ),
            "Noise on purpose": ("pcclip.generation.noise:NoisePlan",),
        },
    ),
    "protocols.md": (
        "Protocols",
        "What is measured (`protocols` of an evaluation), and the metrics that each one names.",
        {"Protocols": ("pcclip.evaluation.protocols>pcclip.evaluation.protocol:EvaluationProtocol",)},
    ),
    "evaluation_sets.md": (
        "Evaluation sets",
        "What is measured on (`data` of an evaluation): a folder made by `pcclip prepare`, or one of these.",
        {
            "Sets": ("pcclip.evaluation.sources>pcclip.evaluation.sets:SetSource",),
            "Models that no run has made": ("pcclip.evaluation.encoding.named:Named",),
        },
    ),
    "pictures.md": (
        "Pictures from arithmetic",
        "Who draws and who measures (`pictures` of `pcclip arithmetic` and of `PicturesFromArithmetic`).",
        {
            "The evaluation": (
                "pcclip.arithmetic.evaluation:PictureArithmetic",
                "pcclip.arithmetic.vectors:Arithmetic",
                "pcclip.arithmetic.grids:Grids",
            ),
            "Who draws": (
                "pcclip.arithmetic.sdxl>pcclip.arithmetic.generators:GeneratorSource",
                "pcclip.demos.painter.generator:PainterSource",
            ),
            "Who measures": (
                "pcclip.arithmetic.clip_scorer>pcclip.arithmetic.scorers:PictureScorer",
                "pcclip.arithmetic.judge>pcclip.arithmetic.scorers:PictureScorer",
                "pcclip.demos.painter.scorer:ShapesScorer",
            ),
        },
    ),
}


# Types that stand for many classes, and the section that has these.
_FAMILIES = {
    "CaptionedPictures": "data.md#sources",
    "RowSource": "data.md#rows",
    "Writer": "writers.md#writers",
    "Check": "writers.md#accepting",
    "Repeats": "writers.md#accepting",
    "SetSource": "evaluation_sets.md#sets",
    "EvaluationProtocol": "protocols.md#protocols",
    "DifferenceObjective": "training.md#objectives",
    "GeneratorSource": "pictures.md#who-draws",
    "PictureScorer": "pictures.md#who-measures",
}


@functools.cache
def places() -> dict[str, str]:
    """Page and section of each class of the reference, by its name."""
    return _FAMILIES | {
        kind.__name__: f"{name}#{anchor(f'{kind.__module__}.{kind.__qualname__}')}"
        for name, (_, _, sections) in _PAGES.items()
        for where in sections.values()
        for kind in _classes(where)
    }


def linked(types: str) -> str:
    """Names of types, each with a link to where the reference has it."""
    return re.sub(r"\b[A-Z]\w+", lambda one: _link(one[0]), types)


def _link(name: str) -> str:
    place = places().get(name)
    return name if place is None else f"[{name}]({place})"


def class_pages() -> dict[str, str]:
    """All pages of classes: text by file name."""
    made = {}
    for name, (title, intro, sections) in _PAGES.items():
        body: list[str] = []
        for heading, places in sections.items():
            body += [f"## {heading}", ""]
            for kind in _classes(places):
                body += [*_section(kind), ""]
        made[name] = page(title, intro, body)
    return made


def _classes(places: Sequence[str]) -> Iterator[type]:
    for place in places:
        where, derived, base = place.partition(">")
        module, _, name = (base or place).partition(":")
        named = getattr(importlib.import_module(module), name)
        yield from _derived(where, named) if derived else (named,)


def _derived(package: str, base: type) -> Iterator[type]:
    """Every class of a package that can be made and is derived from a base, in the order of its modules."""
    module = importlib.import_module(package)
    inside = [package]
    if hasattr(module, "__path__"):
        inside += sorted(found.name for found in pkgutil.walk_packages(module.__path__, f"{package}."))
    for name in inside:
        for found in vars(importlib.import_module(name)).values():
            own = inspect.isclass(found) and found.__module__ == name and not found.__name__.startswith("_")
            if own and issubclass(found, base) and found is not base and not inspect.isabstract(found):
                yield found


def _section(kind: type) -> Iterator[str]:
    said = parse_from_object(kind)
    yield f"### {kind.__module__}.{kind.__qualname__}"
    yield ""
    if said.short_description:
        yield escaped(one_line(said.short_description))
        yield ""
    if said.long_description:
        yield escaped(said.long_description)
        yield ""
    rows = [
        (f"`{name}`", linked(type_name(hint)), f"`{default}`" if default else "", text)
        for name, hint, default, text in _arguments(kind, said)
    ]
    if rows:
        yield from table(("argument", "type", "default", "what it is"), rows)


def _arguments(kind: type, said: Docstring) -> Iterator[tuple[str, Any, str, str]]:
    told = _descriptions(kind) | _of(said)
    hints = _hints(kind)
    factories = {
        field.name: field.default_factory
        for field in (dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ())
        if field.default_factory is not dataclasses.MISSING
    }
    for name, one in inspect.signature(kind).parameters.items():
        if one.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        given = factories[name]() if name in factories else one.default
        default = "" if given is inspect.Parameter.empty else value(given)
        needed = "**needed.** " if given is inspect.Parameter.empty else ""
        yield name, hints.get(name, one.annotation), default, needed + told.get(name, "")


def _descriptions(kind: type) -> dict[str, str]:
    """What the classes that it is derived from say about their arguments."""
    found: dict[str, str] = {}
    for above in reversed(kind.__mro__[1:]):
        if above.__module__.startswith("pcclip"):
            found |= _of(parse_from_object(above))
    return found


def _of(said: Docstring) -> dict[str, str]:
    return {one.arg_name: one_line(one.description or "") for one in said.params}


def _hints(kind: type) -> dict[str, Any]:
    try:
        own = kind if dataclasses.is_dataclass(kind) else kind.__init__  # type: ignore[misc]
        return typing.get_type_hints(own)
    except NameError:  # of names that are imported for type checkers only
        return {}
