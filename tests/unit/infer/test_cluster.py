"""What `infer.cluster` refuses before it asks any node, and its manifest; nodes are in tests/e2e/test_ray.py."""

from __future__ import annotations

import importlib.util
import io
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from repix.cli import group
from repix.errors import BackendError, InputError, MissingExtraError, WeightsError
from repix.infer.cluster import _find_remote, _join, _Manifest, restore_on_ray
from repix.infer.jobs import BatchOptions, Result
from repix.infer.restorer import Restorer


@pytest.fixture(autouse=True)
def _ray_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """These end before Ray is loaded, and so hold without it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "ray" else find(name))


def test_without_ray_the_extra_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"repix\[scale\]"):
        restore_on_ray(photos)


def test_inputs_are_never_overwritten(darkening_weight: Path, photos: Path) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(InputError, match="never overwrites"):
        restore_on_ray(photos, photos, options=BatchOptions(model=darkening_weight, overwrite=True))
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_a_missing_model_is_told_before_there_are_workers(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        restore_on_ray(photos, options=BatchOptions(model="nonesuch"))
    assert not list(tmp_path.rglob("manifest.jsonl"))


@pytest.mark.parametrize("failure", ["ConnectionError", "AuthenticationError"])
def test_a_cluster_that_wants_a_token_is_told_how(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    """Ray 2.59 and newer make one where --ray has run on one machine, and `ray start` then asks others for it."""
    ray = pytest.importorskip("ray")

    def refused(**asked: object) -> None:
        kinds = {"ConnectionError": ConnectionError, "AuthenticationError": ray.exceptions.AuthenticationError}
        raise kinds[failure]("Failed to connect. More about it.\nAnd more.")

    monkeypatch.setattr(ray, "init", refused)
    monkeypatch.setattr(socket, "create_connection", lambda *given, **options: io.BytesIO())  # somebody listens
    with pytest.raises(BackendError, match=r"no Ray cluster at head:6379: .*Failed to connect.*; if .* RAY_AUTH_MODE"):
        _join("head:6379")


@pytest.mark.parametrize("output", [None, "clean.png"])
def test_urls_need_a_folder_for_the_results(photos: Path, output: str | None) -> None:
    with pytest.raises(InputError, match="-o"):
        restore_on_ray(photos.as_uri(), output)


def test_urls_and_paths_do_not_mix(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mixed"):
        restore_on_ray([photos.as_uri(), str(photos)], tmp_path / "out")


def test_an_unknown_file_system_and_an_empty_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nonesuch"):
        restore_on_ray("nonesuch://a/b", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        restore_on_ray((tmp_path / "empty").as_uri(), tmp_path / "out")


def test_results_of_earlier_runs_behind_urls_are_left_out(tmp_path: Path) -> None:
    names = ["a.jpg", "a_derained.jpg", "b_compare.jpg", "d/c.avi", "d/c_dry.mkv", "d_derained/c.mkv"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    url = (tmp_path / "in").as_uri()
    planned, urls = _find_remote([url], str(tmp_path / "out"), BatchOptions())
    assert [urls[job.src] for job in planned.jobs] == [
        f"{url}/{name}" for name in ("a.jpg", "b_compare.jpg", "d/c.avi")
    ]
    assert len(planned.left_out) == 3
    alone, _ = _find_remote([f"{url}/a_derained.jpg"], str(tmp_path / "out"), BatchOptions())
    assert [job.dst for job in alone.jobs] == [tmp_path / "out" / "a_derained.jpg"]


def test_workers_load_the_model_themselves(photos: Path, tmp_path: Path) -> None:
    options = BatchOptions(model=Restorer.from_pretrained(device="cpu", threads=1))
    with pytest.raises(InputError, match="give its name or its folder"):
        restore_on_ray(photos, tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_a_path_is_not_taken_for_an_address(photos: Path) -> None:
    done = CliRunner().invoke(group, ["derain", str(photos), "--ray", "holiday"])
    assert done.exit_code == 2
    assert "write --ray after the paths" in done.output


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_manifest_grows_and_survives_torn_lines(tmp_path: Path) -> None:
    path = tmp_path / "out" / "manifest.jsonl"
    with _Manifest(path) as manifest:
        manifest.add(Result(Path("a"), "done", notes=("ü\udcff",)), "a", Path("x/a"), 0.5, "n1")
        assert lines(path)[0]["seconds"] == 0.5, "a line is there at once"
        manifest.add(Result(Path("b"), "failed", message="bad"), "b", Path("x/b"), 0.1, "n2")
    with path.open("a") as file:
        file.write('{"src": "c", "sta')
    with _Manifest(path) as manifest:
        manifest.add(Result(Path("a"), "skipped"), "a", None, 0, "")
        manifest.add(Result(Path("b"), "done"), "b", Path("x/b"), 0.2, "n1")
        manifest.add(Result(Path("d"), "skipped"), "d", None, 0, "")
    assert [(line["src"], line["status"], line["seconds"]) for line in lines(path)] == [
        ("a", "done", 0.5),
        ("b", "done", 0.2),
        ("d", "skipped", 0),
    ]
    assert not list(path.parent.glob("*.tmp"))
