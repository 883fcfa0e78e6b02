"""Answers of an earlier job, judged and spoilt otherwise without the model, through the command line."""

from pathlib import Path

from jobs import PROMPTS, made, recipe, row_lines, server, write_rows

from pcclip.cli import main

FILTER = "pcclip.generation.filter_check.Filter"


def settings(folder: Path, url: str, min_chars: int, **more: object) -> str:
    folder.mkdir(exist_ok=True)
    rows = write_rows(folder / "rows.jsonl", row_lines(230))
    check = {"class_path": FILTER, "init_args": {"limits": {"min_chars": min_chars}}}
    common = {"prompt": str(PROMPTS / "caption_pair.yaml"), "check": check, "chunk_rows": 50} | more
    return str(recipe(folder, rows, server(url, retries=0), **common))


def test_another_filter_and_noise_make_what_a_run_with_them_makes(parrot, tmp_path: Path) -> None:
    started = parrot()
    noise = {"shuffled": 30, "reversed": 10}
    first = settings(tmp_path / "first", started.url, 0)
    direct = settings(tmp_path / "direct", started.url, 60, noise=noise, chunk_rows=70)
    assert main(["write", "--config", first]) == 0
    assert main(["write", "--config", direct]) == 0
    started.close()  # nobody answers any more
    again = settings(tmp_path / "again", started.url, 60, noise=noise, chunk_rows=70)
    assert main(["write", "--config", again, "--answers_of", str(tmp_path / "first/out")]) == 0
    assert made(tmp_path / "again/out") == made(tmp_path / "direct/out")
    assert made(tmp_path / "again/out") != made(tmp_path / "first/out")


def test_answers_to_other_questions_and_unfinished_jobs_are_refused(parrot, tmp_path: Path, capsys) -> None:
    started = parrot()
    assert main(["write", "--config", settings(tmp_path / "first", started.url, 0)]) == 0
    first = tmp_path / "first/out"
    words = ["write", "--config", settings(tmp_path / "again", started.url, 60), "--answers_of", str(first)]
    assert main([*words, "--sampling.temperature", "0.1"]) == 1
    assert "had other settings (sampling.temperature)" in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path)]) == 1
    assert "holds no job of 'pcclip write'" in capsys.readouterr().err
    (first / "answers/000002.jsonl").unlink()
    assert main(words) == 1
    assert "000002.jsonl: is not as it was written" in capsys.readouterr().err
    lines = (first / "manifest.jsonl").read_text().splitlines(keepends=True)
    (first / "manifest.jsonl").write_text("".join(line for line in lines if '"chunk":2,' not in line))
    assert main(words) == 1
    assert "is not answered in" in capsys.readouterr().err
    (first / "CARD.md").unlink()
    assert main(["write", "--config", settings(tmp_path / "first", started.url, 0)]) == 0
    assert main(words) == 0
