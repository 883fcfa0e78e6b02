"""The local page's server: what it answers, and whom and what it refuses."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcclip.cli import main
from pcclip.errors import PcclipError
from pcclip.inference.gallery import Gallery
from pcclip.inference.model import load
from pcclip.inference.serve.answers import Answers, Query
from pcclip.inference.serve.thumbnails import Thumbnails
from tests.inference.serving import NASTY, Server, command, make_pictures, make_run, serving

TEXT, OPPOSITE = "the picture is darker", "the picture is brighter"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    make_run(folder)
    make_pictures(folder / "<b>pictures")
    (folder / "secret.png").write_bytes((folder / "<b>pictures" / "02.jpg").read_bytes())
    return folder


@pytest.fixture(scope="module")
def run(place) -> Path:
    return place / "runs" / "small" / "seed0"


@pytest.fixture(scope="module")
def server(place, run):
    with serving(place / "<b>pictures", run, place / "cache") as running:
        yield running


def names(cards: list[dict]) -> list[str]:
    return [card["name"] for card in cards]


@pytest.mark.parametrize("opposite", ["", OPPOSITE])
def test_an_order_is_what_the_python_interface_says(server: Server, place, run, opposite):
    answer = server.ask(text=TEXT, opposite=opposite, count=7).json
    assert [column["stage"] for column in answer["columns"]] == ["base", "tuned"]
    orders = []
    for column in answer["columns"]:
        model = load(run, stage=column["stage"])
        placed = model.rank(Gallery.open(place / "<b>pictures", model), TEXT, opposite or None)
        assert names(column["most"]) == [one.picture for one in placed[:7]]
        assert names(column["least"]) == [one.picture for one in placed[:-8:-1]]
        assert [card["place"] for card in column["least"]] == list(range(30, 23, -1))
        scores = [card["score"] for card in column["most"]]
        assert np.allclose(scores, [one.score for one in placed[:7]], atol=1e-5)
        assert bool(column["note"]) == (column["stage"] == "base" and not opposite)
        orders.append(names(column["most"]))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("weight", [0, 2.5])
def test_a_search_is_what_the_python_interface_says(server: Server, place, run, weight):
    answer = server.ask(text=TEXT, like="deeper/07.png", weight=weight, stage="tuned", count=40).json
    (column,) = answer["columns"]
    model = load(run)
    gallery = Gallery.open(place / "<b>pictures", model)
    placed = model.search(gallery, "deeper/07.png", TEXT, weight=weight)
    assert names(column["most"]) == [one.picture for one in placed]
    assert np.allclose([c["score"] for c in column["most"]], [one.score for one in placed], atol=1e-5)
    assert answer["picked"]["name"] == "deeper/07.png"
    assert column["least"] == []
    if weight == 0:  # the text is of no weight, so that none is as good
        alone = server.ask(like="deeper/07.png", stage="tuned", count=40).json
        assert names(alone["columns"][0]["most"]) == names(column["most"])


def test_without_a_question_a_sample_of_the_folder(server: Server):
    (column,) = server.ask(count=5).json["columns"]
    assert len(set(names(column["most"]))) == 5
    assert all(card["score"] is None for card in column["most"])


def test_many_ask_at_once(server: Server):
    questions = [{"text": f"question {n % 5}", "stage": "tuned"} for n in range(40)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda words: server.ask(**words), questions))
    assert {answer.status for answer in answers} == {200}
    for words, answer in zip(questions, answers, strict=True):
        assert answer.json["columns"] == server.ask(**words).json["columns"]


def test_a_text_is_encoded_once_however_many_ask(place, run):
    model = load(run)
    gallery = Gallery.open(place / "<b>pictures", model)
    encoded = []

    class Counting:
        finetuned, title = True, "counting"

        @staticmethod
        def direction(text, opposite):
            encoded.append(text)
            return model.direction(text, opposite)

    async def ask(*texts: str) -> list:
        answers = Answers({"tuned": Counting}, {"tuned": gallery}, place / "<b>pictures")
        queries = [Query.of({"text": [text]}, ["tuned"]) for text in texts]
        try:
            return [
                *await asyncio.gather(*(answers.answer(query) for query in queries), return_exceptions=True),
                *[await answers.answer(queries[0])],
            ]
        finally:
            answers.close()

    found = asyncio.run(ask(*["snow"] * 10, "rain"))
    assert sorted(encoded) == ["rain", "snow"]
    assert found[0] == found[9] == found[-1] != found[10]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"text": TEXT, "weight": "nan"}, "weight"),
        ({"text": TEXT, "weight": "-1"}, "weight"),
        ({"text": TEXT, "count": "1000000"}, "count"),
        ({"text": TEXT, "count": "many"}, "count"),
        ({"text": TEXT, "stage": "best"}, "best"),
        ({"text": "x" * 1001}, "1,000"),
        ({"opposite": TEXT}, "difference"),
        ({"text": TEXT, "opposite": TEXT}, "same embedding"),
        ({"like": "absent.jpg"}, "absent.jpg"),
        ({"like": "../secret.png"}, "secret.png"),
        ({"like": "/etc/passwd"}, "passwd"),
    ],
)
def test_what_cannot_be_answered_is_said_in_words(server: Server, words, told):
    answer = server.ask(**words)
    assert answer.status == 400
    assert told in answer.error


@pytest.mark.parametrize(
    "path",
    [
        "/thumbnail/../secret.png",
        "/thumbnail/..%2fsecret.png",
        "/thumbnail/%2e%2e/secret.png",
        "/picture//etc/passwd",
        "/thumbnail/-1",
        "/page/../command.py",
        "/page/..%2fcommand.py",
        "/page/index.html",
        "/../../etc/passwd",
        "/secret.png",
    ],
)
def test_no_path_leaves_the_folder(server: Server, path):
    answer = server.get(path)
    assert answer.status == 404
    assert answer.error


@pytest.mark.parametrize("row", ["30", "99999999999999999999999999999"])
def test_pictures_that_are_not_there(server: Server, row):
    answer = server.get(f"/picture/{row}")
    assert (answer.status, "no picture number" in answer.error) == (400, True)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:{port}", "192.0.2.1", "", "[", "a@b"]
)
@pytest.mark.parametrize("path", ["/", "/api/answer?text=a", "/thumbnail/0"])
def test_foreign_hosts_are_refused(server: Server, host, path):
    answer = server.get(path, Host=host.format(port=server.port))
    assert answer.status in (400, 421)
    assert NASTY not in answer.body.decode()


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST", "[::1]:{port}", "127.0.0.1"])
def test_its_own_names_are_answered(server: Server, host):
    assert server.get("/", Host=host.format(port=server.port)).status == 200


def test_pages_of_other_sites_may_link_but_not_ask(server: Server):
    assert server.get("/?text=a", Sec_Fetch_Site="cross-site").status == 200
    assert server.get("/thumbnail/0", Sec_Fetch_Site="cross-site").status == 403
    assert server.get("/thumbnail/0").headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/api/answer", "/thumbnail/0", "/picture/0", "/page/serve.js"])
def test_nothing_can_be_written(server: Server, method, path):
    answer = server.get(path, method)
    assert answer.status == 405
    assert "POST" not in answer.headers["allow"]


def test_the_page_escapes_names_and_needs_nothing_from_elsewhere(server: Server):
    page = server.get("/")
    text = page.body.decode()
    assert "&lt;b&gt;pictures" in text
    assert "<b>pictures" not in text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    files = [server.get(f"/page/{name}").body.decode() for name in ("serve.css", "serve.js")]
    assert not [one for one in [text, *files] if "http://" in one or "https://" in one]


def test_thumbnails_are_small_kept_and_never_stale(server: Server, place):
    name, file = "12.jpg", place / "<b>pictures" / "12.jpg"

    def card() -> dict:
        return server.ask(like=name).json["picked"]

    Image.new("RGB", (1000, 500), "red").save(file)
    first = card()["thumbnail"]
    answer = server.get(first)
    assert Image.open(BytesIO(answer.body)).size == (320, 160)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "image/jpeg"
    kept = set((place / "cache" / "thumbnails").iterdir())
    assert server.get(first).body == answer.body
    assert set((place / "cache" / "thumbnails").iterdir()) == kept
    Image.new("RGB", (1000, 500), "blue").save(file)
    assert card()["thumbnail"] != first
    late = server.get(first)  # the old address shows what is there now, and is not to be kept
    assert late.headers["cache-control"] == "no-cache"
    assert Image.open(BytesIO(late.body)).getpixel((9, 9))[2] > 200
    file.unlink()
    gone = server.get(card()["thumbnail"])
    assert (gone.status, name in gone.error) == (404, True)


def test_thumbnails_stay_within_their_bound(tmp_path):
    pictures = make_pictures(tmp_path / "pictures", 20)
    thumbnails = Thumbnails(tmp_path / "kept", limit=10_000)
    made = [thumbnails.get(file, 320) for file in sorted(pictures.glob("*.jpg"))]
    assert sum(map(len, made)) > 10_000
    left = [file.stat().st_size for file in (tmp_path / "kept").iterdir()]
    assert 5_000 < sum(left) <= 10_000
    (tmp_path / "file").write_text("in the way")
    assert Thumbnails(tmp_path / "file", 10**6).get(pictures / "02.jpg", 320) == made[0]
    (pictures / "02.jpg").write_bytes(b"damaged")
    with pytest.raises(PcclipError, match=r"02\.jpg: cannot be decoded"):
        thumbnails.get(pictures / "02.jpg", 320)


def test_a_port_in_use_is_an_error_with_the_remedy(place, run, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(place / "<b>pictures"), "--model", str(run), "--port", str(port)]) == 1
    assert f"port {port} is in use. Give another by --port" in capsys.readouterr().err
    assert main(["serve", str(place / "none"), "--model", str(run), "--port", "0"]) == 1
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_another_host_is_warned_of_and_any_signal_stops_it(place, number):
    cache = place / f"cache-{number}"
    with serving(place / "<b>pictures", place / "base", cache, "--host", "0.0.0.0") as server:
        assert server.get("/", Host=f"192.0.2.1:{server.port}").status == 200
        assert server.get("/", Host="evil.example").status == 421
        (column,) = server.ask(text=TEXT).json["columns"]  # a model that is no run stands alone
        assert column["stage"] == "tuned"
        held = socket.create_connection(("127.0.0.1", server.port))  # a browser keeps its connections
        assert server.stop(number) == 128 + number
        held.close()
    told = (cache / "stderr").read_text()
    assert "without a password" in " ".join(told.split())
    assert "Traceback" not in told


def test_stopped_while_it_embeds(place, run, tmp_path):
    process = subprocess.Popen(
        command(place / "<b>pictures", "--model", run, "--port", 0, "--cache_dir", tmp_path / "cache"),
        stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "cache").is_dir():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == 130
