"""Pickles in place of every file that is loaded: refused with a message, and never executed."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pcclip.cli import main
from pcclip.data.bank import Bank
from pcclip.data.bank_files import BANK_FILE, EMBEDDINGS, HASH_ROWS, HASHES, KEY_BYTES, KEY_ENDS
from pcclip.data.index import ShardIndex, sidecar_path
from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Results
from pcclip.inference.gallery_files import Kept
from pcclip.model.towers import load_towers
from tests.hostile.making import Payload, pickled, tar_of


def torch_pickle(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(2)}, "payload": Payload(mark)}, buffer)
    return buffer.getvalue()


def array_pickle(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def arrays_pickle(mark: Path, *names: str) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.array([Payload(mark)], dtype=object) for name in names})
    return buffer.getvalue()


KINDS = (pickled, torch_pickle, array_pickle)


def test_the_payload_does_run_where_pickles_are_loaded(tmp_path):
    pickle.loads(pickled(tmp_path / "ran"))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth", ".safetensors", ".ckpt", ".npz", ".pkl"])
def test_files_of_weights(make, suffix, mark, tmp_path):
    (tmp_path / f"weights{suffix}").write_bytes(make(mark))
    with pytest.raises(PcclipError, match="weights"):
        load_towers("pcclip-tiny", str(tmp_path / f"weights{suffix}"))


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "names", [("open_clip_pytorch_model.bin",), ("a.bin", "b.pth"), ("open_clip_model.safetensors",)]
)
def test_folders_of_open_clip(make, names, mark, tiny, tmp_path):
    (tmp_path / "open_clip_config.json").write_bytes((tiny / "open_clip_config.json").read_bytes())
    for name in names:
        (tmp_path / name).write_bytes(make(mark))
    with pytest.raises(PcclipError):
        load_towers(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_folders_of_transformers(make, name, mark, tmp_path):
    from transformers import CLIPConfig

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPConfig(text_config=sizes, vision_config=sizes | {"image_size": 32, "patch_size": 16}).save_pretrained(
        tmp_path
    )
    (tmp_path / name).write_bytes(make(mark))
    with pytest.raises(PcclipError, match="cannot read the weights"):
        load_towers(f"local-dir:{tmp_path}")


CODE = {
    "tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}),
    "model": ("config.json", {"model_type": "clip", "auto_map": {"AutoModel": "evil.Evil"}}),
    "processor": ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "evil.Evil"}}),
}


@pytest.mark.parametrize("case", CODE)
def test_code_that_a_folder_brings_is_refused(case, mark, tiny, tmp_path):
    name, content = CODE[case]
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "evil.py").write_text(f"import os\nos.system('touch {mark}')\nclass Evil: pass\n")
    with pytest.raises(PcclipError, match=f"{name}: has 'auto_map'"):
        load_towers(f"local-dir:{tmp_path}")


def test_open_clips_configuration_cannot_ask_transformers_to_trust_code(mark, tiny, tmp_path):
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tiny / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "evil/evil",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(PcclipError, match="has 'trust_remote_code', which runs code that came with it"):
        load_towers(f"local-dir:{tmp_path}")


def test_an_engine_is_not_told_to_trust_code():
    from pcclip.generation.writers.vllm_engine import VllmEngine

    with pytest.raises(PcclipError, match="trust_remote_code"):
        VllmEngine(model="m", engine={"trust_remote_code": True})


def test_sidecars_banks_caches_and_results(mark, tmp_path):
    shard = tmp_path / "a.tar"
    shard.write_bytes(tar_of(("a.txt", b"x")))
    sidecar = sidecar_path(shard, None, "index.npz")
    sidecar.parent.mkdir()
    for data in (arrays_pickle(mark, "valid", "key_bytes"), pickled(mark), array_pickle(mark)):
        sidecar.write_bytes(data)
        assert list(ShardIndex.load(shard).keys) == ["a"], "made anew"
    about = {
        "schema": 1,
        "kind": "bank",
        "fingerprint": "f",
        "dim": 1,
        "dtype": "float32",
        "source": [],
        "count": 1,
    }
    bank = tmp_path / "bank"
    bank.mkdir()
    (bank / BANK_FILE).write_text(json.dumps(about))
    for name in (EMBEDDINGS, HASHES, HASH_ROWS, KEY_ENDS, KEY_BYTES):
        (bank / name).write_bytes(array_pickle(mark))
    with pytest.raises(PcclipError, match="cannot be read as an embedding bank"):
        Bank.open(bank, None)
    (tmp_path / "results.npz").write_bytes(arrays_pickle(mark, "header"))
    with pytest.raises(PcclipError, match="no results of an evaluation"):
        Results.load(tmp_path / "results.npz")
    kept = Kept(tmp_path, tmp_path, "f")
    kept.lock.with_name(kept.lock.name.removeprefix(".").removesuffix(".lock")).mkdir()
    (next(tmp_path.glob("gallery-*")) / "index.npz").write_bytes(arrays_pickle(mark, "names", "features"))
    with pytest.raises(PcclipError, match="damaged"):
        kept.read()


@pytest.mark.slow
def test_a_checkpoint_to_go_on_from(mark, tmp_path, capsys):
    """The one way in that Lightning opens to any pickle, unless it is told not to."""
    (tmp_path / "evil.ckpt").write_bytes(torch_pickle(mark))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "evil.ckpt", weights_only=True)
    config = Path(__file__).parents[2] / "experiments/shapes/pretrain.yaml"
    words = ["fit", f"--config={config}", "--weights_only=false", f"--ckpt_path={tmp_path / 'evil.ckpt'}"]
    assert main([*words, f"--runs={tmp_path}"]) == 1
    assert "weights_only: false would run code" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model_index.json"])
def test_a_folder_of_sdxl(name, mark, tmp_path):
    from pcclip.arithmetic.sdxl import _load

    (tmp_path / "evil.py").write_text(f"import os\nos.system('touch {mark}')\nclass Evil: pass\n")
    index = {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.30.0"}
    index |= {"text_encoder": ["evil", "Evil"], "text_encoder_2": ["evil", "Evil"], "unet": ["evil", "Evil"]}
    (tmp_path / name).write_text(json.dumps(index))
    for part in ("text_encoder", "text_encoder_2", "unet"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "pytorch_model.bin").write_bytes(torch_pickle(mark))
    with pytest.raises(PcclipError):
        _load(str(tmp_path), None, torch.float32)


def test_an_archive_of_pictures_is_read_by_name_and_never_unpacked(tmp_path):
    from pcclip.data.sources.eurosat_photos import find_photos

    with zipfile.ZipFile(tmp_path / "EuroSAT.zip", "w") as archive:
        archive.writestr("../../../evil/Forest/Forest_1.jpg", b"x")
        archive.writestr("2750/Forest/../../../Forest_2.jpg", b"x")
        archive.writestr("2750/Forest/Forest_3.jpg", b"x")
    photos = find_photos(tmp_path)
    assert photos.names("Forest") == ["Forest_3.jpg"]
    assert photos.read("Forest", "Forest_3.jpg") == b"x"
    assert [file.name for file in tmp_path.iterdir()] == ["EuroSAT.zip"]
