"""Between open_clip's towers and transformers' CLIP classes: the same weights under other names.

What transformers cannot compute is refused with the reason; see `limits`.
"""

from pcclip.model.conversion.models import text_model, to_transformers

__all__ = ["text_model", "to_transformers"]
