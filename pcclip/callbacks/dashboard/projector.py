"""Files of TensorBoard's embedding projector: `RUN/projector/` and the `projector_config.pbtxt` beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.evaluation.exhibits.kinds import STAGES
from pcclip.evaluation.exhibits.vectors import FIELDS, Vectors
from pcclip.folders import whole_folder

FOLDER = "projector"


def write_projector(run: Path, vectors: Mapping[str, Vectors]) -> None:
    """Writes, per set, the classes and sentences of either model beside the differences of pictures.

    Args:
        run: Folder of the run; files of an earlier attempt in it are replaced.
        vectors: By name of the set.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector.metadata import PROJECTOR_FILENAME
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    with whole_folder(run / FOLDER) as folder:
        for name, both in vectors.items():
            for stage in STAGES:
                other = STAGES[1 - STAGES.index(stage)]
                rows = [number for number, label in enumerate(both.labels) if label[0] != other]
                if not rows:
                    continue
                tensor, labels = f"{name}-{stage}.tsv", f"{name}-{stage}-labels.tsv"
                lines = ["\t".join(f"{value:.4f}" for value in both.rows[row]) for row in rows]
                (folder / tensor).write_text("\n".join(lines) + "\n", encoding="utf-8")
                # The last first: what it says is what TensorBoard shows of a point, unless told otherwise.
                told = [FIELDS[::-1], *(both.labels[row][::-1] for row in rows)]
                (folder / labels).write_text("".join(map(_line, told)), encoding="utf-8")
                config.embeddings.add(
                    tensor_name=f"{name}: {stage} text tower",
                    tensor_path=f"{FOLDER}/{tensor}",
                    metadata_path=f"{FOLDER}/{labels}",
                )
    write_atomically(run / PROJECTOR_FILENAME, text_format.MessageToString(config).encode())


def _line(cells: Sequence[str]) -> str:
    return "\t".join(" ".join(cell.split()) for cell in cells) + "\n"
