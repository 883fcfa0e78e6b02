"""How an exported model is loaded, for its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcclip.model.towers import Towers

_OPEN_CLIP = """\
```python
import open_clip, torch
from PIL import Image

name = "{name}"
model, _, preprocess = open_clip.create_model_and_transforms(name)
tokenizer = open_clip.get_tokenizer(name)
model.eval()
with torch.no_grad():
    image = model.encode_image(preprocess(Image.open("a.jpg"))[None], normalize=True)
    text = model.encode_text(tokenizer(["the first picture is darker"]), normalize=True)
```"""

_TRANSFORMERS = """\
```python
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

model = CLIPModel.from_pretrained("{name}")
processor = CLIPProcessor.from_pretrained("{name}", backend="pil")
inputs = processor(
    text=["the first picture is darker"], images=Image.open("a.jpg"),
    padding=True, truncation=True, return_tensors="pt",
)
with torch.no_grad():
    output = model(**inputs)  # output.image_embeds, output.text_embeds: unit vectors
```"""

_TEXT = """\
```python
import torch
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

model = CLIPTextModelWithProjection.from_pretrained("{name}")
tokenizer = CLIPTokenizer.from_pretrained("{name}")
inputs = tokenizer(["the first picture is darker"], padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    text = model(**inputs).text_embeds  # not normalised
```"""

_PCCLIP = """\
```python
import pcclip

model = pcclip.load("{name}")
print(model.difference("a.jpg", "b.jpg") @ model.encode_texts(["the first picture is darker"]).T)
```"""


def usage_section(towers: Towers, to: str, part: str, folder: str, refused: str | None) -> list[str]:
    """Examples for every library that reads the folder.

    Args:
        towers: What was exported.
        to: The format.
        part: Both towers, or the text tower alone.
        folder: Name of the folder.
        refused: Why transformers does not read a hub folder.
    """
    from open_clip.tokenizer import HFTokenizer

    hub = to == "hub-folder"
    local = "ORG/NAME" if hub else folder
    if part == "text":
        return ["transformers:", "", _TEXT.format(name=local)]
    lines = ["After the upload `ORG/NAME` is the repository's name.", ""] if hub else []
    if to != "transformers":
        name = "hf-hub:ORG/NAME" if hub else f"local-dir:{folder}"
        lines += ["open_clip:", "", _OPEN_CLIP.format(name=name), ""]
        if hub and isinstance(towers.tokenizer, HFTokenizer):
            named = towers.model_config["text_cfg"].get("hf_tokenizer_name")
            lines += [
                f"open_clip looks for this model's tokenizer on the hub by the name `{named}` "
                "(`text_cfg.hf_tokenizer_name` in `open_clip_config.json`): where that is none of the hub's, "
                "write the name of this repository there.",
                "",
            ]
    if to != "open_clip" and refused is None:
        lines += ["transformers:", "", _TRANSFORMERS.format(name=local), ""]
    if refused is not None:
        lines += [f"transformers: {refused}.", ""]
    name = "hf-hub:ORG/NAME" if hub else folder
    return [*lines, "pcclip:", "", _PCCLIP.format(name=name)]
