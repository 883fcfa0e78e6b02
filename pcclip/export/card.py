"""The model card (`README.md`) and the note on licences of an exported model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pcclip.export.results import results_section
from pcclip.export.subject import Subject
from pcclip.export.training_facts import data_section, licences, training_section
from pcclip.export.usage import usage_section

if TYPE_CHECKING:
    from pcclip.model.towers import Towers


def model_card(
    towers: Towers,
    subject: Subject,
    meta: Mapping[str, Any],
    to: str,
    part: str,
    folder: str,
    refused: str | None,
) -> str:
    """The card, in Markdown with YAML front matter as the hub reads it.

    Args:
        towers: The weights.
        subject: What they are.
        meta: Of `pcclip.json`: base weights, trained part, share of an interpolation.
        to: The format.
        part: Both towers, or the text tower alone.
        folder: The folder's name, for the examples.
        refused: Why there is nothing for transformers in a hub folder; None if there is.
    """
    lines = [_front_matter(meta, to, part), f"# {subject.title}", "", *_what(towers, subject, meta, part)]
    if subject.run is not None and subject.stage != "base":
        lines += ["", "## Training", "", *training_section(subject, meta)]
        lines += ["", "## Data", "", *data_section(subject)]
    if subject.run is not None:
        lines += ["", "## Before and after", "", *results_section(subject.run.summary, subject.stage)]
    lines += ["", "## Loading it", "", *usage_section(towers, to, part, folder, refused)]
    lines += ["", "## Limits", "", *_limits(subject, meta, to, part, refused)]
    lines += ["", "## Licence", "", "See `LICENSE`."]
    return "\n".join(lines) + "\n"


def licence_note(subject: Subject, meta: Mapping[str, Any]) -> str:
    """What is known of licences, for the folder's LICENSE."""
    lines = [
        "This model was exported by pcclip, which does not know under which licence you may pass it on.",
        "Put that licence here before you publish it. It follows from:",
        "",
        f"- the weights that it continues from: {_base_line(meta)}",
    ]
    if subject.run is not None:
        lines += [f"- data that it was trained on: {licence}" for licence in licences(subject)]
    lines += [
        "",
        "pcclip itself is under the Apache License 2.0, which claims nothing of the models it trains.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(meta: Mapping[str, Any], to: str, part: str) -> str:
    from huggingface_hub import ModelCardData

    text = part == "text"
    data = ModelCardData(
        language="en",
        license="other",
        license_name="see-license-file",
        license_link="LICENSE",
        library_name="transformers" if to == "transformers" or text else "open_clip",
        pipeline_tag="feature-extraction" if text else "zero-shot-image-classification",
        tags=["clip", "pcclip", "image-differences"],
        base_model=_hub_name(meta.get("base")),
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _hub_name(base: Mapping[str, Any] | None) -> str | None:
    """The base weights' name on the hub; None where that is not known."""
    if base is None or base["random_init"]:
        return None
    if base["name"].startswith("hf-hub:"):
        return str(base["name"]).removeprefix("hf-hub:")
    if base["pretrained"] is None:
        return None
    import open_clip

    tag = open_clip.get_pretrained_cfg(base["name"], base["pretrained"]) or {}
    return "/".join(tag.get("hf_hub", "").split("/")[:2]) or None


def _what(towers: Towers, subject: Subject, meta: Mapping[str, Any], part: str) -> list[str]:
    from pcclip.model.towers import is_text_name

    texts = sum(p.numel() for n, p in towers.clip.named_parameters() if is_text_name(n))
    images = sum(p.numel() for p in towers.visual.parameters())
    size = f"text tower {texts:,} parameters" + ("" if part == "text" else f", image tower {images:,}")
    return [
        _said(subject, "The text tower alone of a CLIP model" if part == "text" else "A CLIP model"),
        "",
        f"- base weights: {_base_line(meta)}",
        f"- {size}",
        f"- embeddings of {towers.embed_dim} numbers, texts of up to {towers.context_length} tokens, "
        f"activation {towers.architecture()['activation']}",
    ]


def _said(subject: Subject, kept: str) -> str:
    if subject.stage == "base":
        return f"{kept}: the base weights of a run of pcclip, unchanged."
    if subject.run is None:
        return f"{kept}, exported by pcclip; of its training only what stands here is known."
    said = f"{kept}, trained by pcclip."
    if subject.settings["model"]["init_args"].get("objective"):
        said += (
            " A sentence about how a first picture differs from a second one is embedded along the "
            "difference of their image embeddings, unit(unit(first) - unit(second)), after "
            "[Finetuning CLIP to Reason about Pairwise Differences](https://arxiv.org/abs/2409.09721)."
        )
    return said


def _base_line(meta: Mapping[str, Any]) -> str:
    base = meta.get("base")
    if base is None:
        return "not known"
    if base["random_init"]:
        return f"none: `{base['name']}` was trained from random weights"
    name = base["name"] if base["pretrained"] is None else f"{base['name']}/{base['pretrained']}"
    marks = f"text {base['text_fingerprint'][:12]}, image {base['image_fingerprint'][:12]}"
    return f"`{name}` (fingerprints: {marks})"


def _limits(subject: Subject, meta: Mapping[str, Any], to: str, part: str, refused: str | None) -> list[str]:
    lines = [
        "- It knows what its base weights know, with their biases; nothing was tested beyond the table above."
    ]
    if subject.run is None:
        lines = ["- pcclip has measured nothing of this model; it has the limits and biases of its weights."]
    elif meta.get("trained") == "text" or str(meta.get("trained", "")).startswith(("text", "lora")):
        lines.append("- Only the text tower was trained: image embeddings are those of the base weights.")
    if part == "text":
        lines.append(
            "- Its embeddings are to be compared with those of the image tower that it was trained with."
        )
    if (to == "transformers" or part == "text" or to == "hub-folder") and refused is None:
        lines.append(
            "- transformers' tokenizer does not mend texts as open_clip's does (by ftfy, and HTML's "
            "entities): typographic quotes, `&amp;`, ligatures give other tokens."
        )
        if part == "both":
            lines.append(
                "- transformers cuts some pictures one pixel aside of where open_clip does, and without "
                '`backend="pil"` rounds otherwise when it resizes: embeddings of such a file differ a '
                "little between the two libraries; of the same pixel values they do not."
            )
    return lines
