"""Small stand-ins for the sets of the paper's tables, in the layouts of their official releases."""

import io
import itertools
import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from pcclip.data.sources.splits import share_of
from pcclip.evaluation.sources.sheets import QuestionSheet
from pcclip.evaluation.sources.words import Words

_COLOURS = ("red", "green", "blue", "yellow", "white", "black")
_RGB = ((200, 40, 40), (40, 180, 40), (40, 40, 200), (200, 200, 40), (230, 230, 230), (20, 20, 20))


def pixels(kind: int, number: int, size: int = 32) -> np.ndarray:
    """A noisy picture in the colour of its kind."""
    noise = np.random.default_rng([kind, number]).integers(-60, 60, (size, size, 3))
    return np.clip(noise + np.array(_RGB[kind % len(_RGB)]), 0, 255).astype(np.uint8)


def write_picture(file: Path, kind: int, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels(kind, number)).save(buffer, "JPEG")
    file.write_bytes(buffer.getvalue())


def names_in(
    split: str, name: str, train: float, validation: float, each: int, test: bool = True
) -> list[str]:
    """Names, with a number in them, whose hash shares them out to a split."""
    found = (name.format(number) for number in range(8_000))
    of_split = (key for key in found if share_of(key, train, validation, test=test) == split)
    return list(itertools.islice(of_split, each))


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    labels = list(Words.of("cifar100").names)
    for part, count in (("train", 2_000), ("test", 300)):
        seen = Counter[str]()  # labels in turn within each split, so that none is without
        told = []
        for number in range(count):
            split = share_of(f"{part}/{number:05d}", 0.9, 0.1, test=False)
            told.append(seen[split] % 100)
            seen[split] += 1
        data = np.stack([pixels(label, n).transpose(2, 0, 1).reshape(-1) for n, label in enumerate(told)])
        (folder / part).write_bytes(pickle.dumps({"data": data, "fine_labels": told}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": labels}))


def flowers102(root: Path) -> None:
    folder = root / "flowers-102"
    labels, ids = [], {"trnid": [], "valid": [], "tstid": []}
    for label in range(1, 103):
        for part in ("trnid", "valid", "tstid", "tstid"):
            labels.append(label)
            ids[part].append(len(labels))
            write_picture(folder / f"jpg/image_{len(labels):05d}.jpg", label, len(labels))
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels])})
    savemat(folder / "setid.mat", {part: np.array([numbers]) for part, numbers in ids.items()})


def sun397(root: Path) -> None:
    folder = root / "SUN397"
    labels = list(Words.of("sun397").names)
    for kind, label in enumerate(labels):
        for split in ("train", "validation", "test"):
            for key in names_in(split, f"{label[0]}/{label}/sun_{{:06d}}", 0.6, 0.15, 1):
                write_picture(folder / f"{key}.jpg", kind, len(key))
    (folder / "ClassName.txt").write_text("".join(f"/{label[0]}/{label}\n" for label in labels))


def eurosat(root: Path) -> None:
    for kind, label in enumerate(Words.of("eurosat").names):
        for number in range(1, 21):
            write_picture(root / f"eurosat/2750/{label}/{label}_{number}.jpg", kind, number)


def cub(root: Path) -> None:
    folder = root / "CUB_200_2011"
    labels = list(Words.of("cub").names)
    listed, splits = [], []
    for kind, label in enumerate(labels):
        key = f"{label}/{label[4:]}_{{:04d}}_{kind}"
        train, validation = (names_in(split, key, 0.6, 0.3, 1, False) for split in ("train", "validation"))
        for number, name in enumerate((*train, *validation, key.format(8888), key.format(9999))):
            write_picture(folder / f"images/{name}.jpg", kind, number)
            listed.append(f"{name}.jpg")
            splits.append(number < 2)
    (folder / "images.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(listed, 1)))
    (folder / "train_test_split.txt").write_text("".join(f"{n} {s:d}\n" for n, s in enumerate(splits, 1)))
    (folder / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(labels, 1)))
    asked = QuestionSheet.load("cub-attributes", "test").questions
    names = [f"has_{one.attribute}::{value.replace(' ', '_')}" for one in asked for value in one.phrases]
    strengths = np.random.default_rng(0).integers(0, 100, (len(labels), len(names)))
    (folder / "attributes").mkdir()
    (folder / "attributes/attributes.txt").write_text("".join(f"{n} {x}\n" for n, x in enumerate(names, 1)))
    file = folder / "attributes/class_attribute_labels_continuous.txt"
    file.write_text("".join(" ".join(map(str, row)) + "\n" for row in strengths))


def awa2(root: Path) -> None:
    folder = root / "Animals_with_Attributes2"
    labels = list(Words.of("awa2").names)
    predicates = [one.attribute for one in QuestionSheet.load("awa2-attributes", "test").questions]
    matrix = np.random.default_rng(0).integers(0, 2, (len(labels), len(predicates)))
    for kind, label in enumerate(labels):
        for split in ("train", "validation", "test"):
            for name in names_in(split, f"{label}/{label}_{{:05d}}", 0.6, 0.15, 1):
                write_picture(folder / f"JPEGImages/{name}.jpg", kind, len(name))
    for name, listed in (("classes", labels), ("predicates", predicates)):
        (folder / f"{name}.txt").write_text("".join(f"{n}\t{x}\n" for n, x in enumerate(listed, 1)))
    rows = "".join(" ".join(map(str, row)) + "\n" for row in matrix)
    (folder / "predicate-matrix-binary.txt").write_text(rows)


def coco(root: Path) -> None:
    for part, count in (("train", 60), ("val", 30)):
        images, notes = [], []
        for number in range(1, count + 1):
            name = f"{number + 1000 * (part == 'val'):012d}"
            write_picture(root / f"coco/{part}2017/{name}.jpg", number, number)
            images.append({"id": number, "file_name": f"{name}.jpg"})
            colour = _COLOURS[number % len(_COLOURS)]
            for what in ("wall", "field", "sheet", "cloth", "panel"):
                notes.append(
                    {"id": len(notes), "image_id": number, "caption": f"A {colour} {what} ({number})."}
                )
        file = root / f"coco/annotations/captions_{part}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"images": images, "annotations": notes}))


def make(root: Path) -> None:
    for one in (cifar100, flowers102, sun397, eurosat, cub, awa2, coco):
        one(root)
