"""Runs many verbs in one process, as a shell would, and notes what each says: `PLACE RUN OUT quick|long`.

One process, so that what verbs import is imported once. Standard output and error are caught where the system
sees them: of libraries in C and of data workers too.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in (".", "tests/generation/writing", "tests/generation/judging", "tests/inference"):
    sys.path.insert(0, str(ROOT / folder))

from pcclip.cli import main  # noqa: E402

SMOKE = ["--config=data_recipes/shapes/demo.yaml", "--config=data_recipes/shapes/smoke.yaml"]
PROTOCOLS = "pcclip.evaluation.protocols"


class Turns:
    """Runs verbs one after the other.

    Args:
        place: The small world of the tests of this folder.
        run: A finished run in it.
        out: Empty folder.
    """

    def __init__(self, place: Path, run: Path, out: Path) -> None:
        self.place, self.run_folder, self.out = place, run, out
        self.said: dict[str, tuple[object, str, str]] = {}

    def run(self, *words: object) -> None:
        """One verb; its status, standard output and error are noted."""
        files = [self.out / f"{len(self.said)}-{name}.txt" for name in ("out", "err")]
        kept = [os.dup(1), os.dup(2)]
        for number, file in enumerate(files, 1):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT)
            os.dup2(opened, number)
            os.close(opened)
        try:
            status: object = main(list(map(str, words)))
        except SystemExit as ended:
            status = ended.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(kept, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
        name = f"{len(self.said)}: {words[0]}"
        self.said[name] = (status, *(file.read_text() for file in files))

    def quick(self) -> None:
        """All verbs but those that train or draw."""
        self._data()
        self._results()
        self._use()

    def _data(self) -> None:
        from jobs import PROMPTS, RULES, recipe, row_lines, server, write_rows
        from judged import judge_recipe, rules, triple, write_set
        from parrot import Parrot

        out = self.out
        self.run("prepare", *SMOKE, f"--out={out / 'data'}")
        rows = write_rows(out / "rows.jsonl", row_lines(60))
        for name in ("rules", "server", "judge"):
            (out / name).mkdir()
        self.run("write", "--config", recipe(out / "rules", rows, RULES, progress=True))
        writer, judge = Parrot(), Parrot(rules)
        prompt = str(PROMPTS / "caption_pair_json.yaml")
        config = recipe(out / "server", rows, server(writer.url), progress=True, prompt=prompt)
        self.run("write", "--config", config, "--dry-run")
        self.run("write", "--config", config)
        texts = write_set(out / "judge/set", [triple(n) for n in range(20)])
        self.run("judge", "--config", judge_recipe(out / "judge", texts, judge.url, count=20, progress=True))
        pictures = f"--pictures={out / 'data/pictures/validation'}"
        name = f"--name=local-dir:{self.place / 'base'}"
        self.run("bank", pictures, f"--out={out / 'bank'}", name, "--num_workers=2")
        for what in (out / "data/triples/train", out / "bank", self.run_folder, self.run_folder / "model"):
            self.run("inspect", what)

    def _results(self) -> None:
        run, out = self.run_folder, self.out
        classes = ("zero_shot.ZeroShot", "linear_probe.LinearProbe", "ranking.AttributeRanking")
        protocols = [{"class_path": f"{PROTOCOLS}.{name}"} for name in classes]
        suite = {"suite": "s", "evaluations": [{"data": str(out / "data"), "protocols": protocols}]}
        (out / "suite.yaml").write_text(json.dumps(suite))
        place = f"--out={out / 'evaluated'}"
        model = f'--models=[{{"name": "local-dir:{run / "model"}", "label": "tuned"}}]'
        self.run("evaluate", f"--config={out / 'suite.yaml'}", model, place, f"--cache_dir={out}")
        self.run("compare", run)
        files = [f"--markdown={out / 'c.md'}", f"--csv={out / 'c.csv'}", f"--plot={out / 'c.png'}"]
        self.run("compare", run, "--suite=fit", *files)
        self.run("report", run, f"--out={out / 'r.html'}", f"--markdown={out / 'r.md'}")

    def _use(self) -> None:
        from serving import make_pictures

        run, out = self.run_folder, self.out
        photos = make_pictures(out / "photos", 6)
        common = [f"--model={run}", f"--cache_dir={out / 'cache'}"]
        words = ["it is larger", "--opposite=it is smaller", "--compare=base", f"--html={out / 'order.html'}"]
        self.run("rank", photos, *words, *common)
        self.run("search", photos, "--like=02.jpg", "--but=larger", *common)
        self._serve(photos, common)
        for to in ("hub-folder", "transformers"):
            self.run("export", run, f"--to={to}", f"--out={out / to}")
        self.run("inspect", out / "transformers")

    def _serve(self, photos: Path, common: list[str]) -> None:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def visit() -> None:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read()
                    break
                except OSError:
                    time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=visit, daemon=True).start()
        self.run("serve", photos, f"--port={port}", *common)

    def long(self) -> None:
        """Those that train or draw."""
        fit = f"--config '{self.place / 'fit.yaml'}'"
        ranges = {"model.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
        sweep = {"name": "s", "runs": str(self.out / "sweeps"), "fit": fit, "trials": 2, "ranges": ranges}
        (self.out / "sweep.yaml").write_text(json.dumps(sweep))
        self.run("sweep", f"--config={self.out / 'sweep.yaml'}")
        for log in (self.out / "sweeps/s/logs").iterdir():
            self.said[f"sweep, {log.name}"] = (0, "", log.read_text())
        trial = self.out / "sweeps/s/trial000"
        (trial / "summary.json").unlink()
        self.run("resume", trial, "--trainer.enable_progress_bar=true")
        for verb in ("validate", "test"):
            words_ = [f"--config={self.place / 'fit.yaml'}", f"--runs={self.out / 'runs'}"]
            self.run(verb, *words_, f"--ckpt_path={trial / 'checkpoints/last.ckpt'}")
        from tests.arithmetic.arithmetic_world import make_world, words  # what draws bars is imported late

        world = make_world(self.out / "arithmetic")
        self.run(*words(world, world / "runs/small/seed0"))


if __name__ == "__main__":
    os.chdir(ROOT)
    turns = Turns(*map(Path, sys.argv[1:4]))
    getattr(turns, sys.argv[4])()
    (turns.out / "said.json").write_text(json.dumps(turns.said))
