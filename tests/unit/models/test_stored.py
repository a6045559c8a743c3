"""A model in ONNX alone: what torch reads back out of it is the network that was exported, or it says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from repix.cli import main
from repix.errors import UntrustedCodeError, WeightsError
from repix.evaluate.inspect import inspect, load_network
from repix.infer.restorer import Restorer
from repix.io.image import Picture, write_image
from repix.models import create_model
from repix.models.adapter import Adapter
from repix.models.stored import load_state
from repix.train.export import save_model
from repix.train.recipe import parse_recipe
from repix.train.start import load_frozen, start_from
from repix.train.task import RestorationTask
from repix.weights import ModelCard, find_card, save_card

ARGS = {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]}


def trained(**args: object) -> nn.Module:
    """As after training: no two tensors alike, but one bias of zeros, which the exporter leaves out."""
    torch.manual_seed(0)
    net = create_model("repixnet", **{**ARGS, **args}).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        net.get_submodule("downs.0").bias.zero_()
    return net


def card(**changes: object) -> ModelCard:
    values = {"name": "mine", "task": "derain", "arch": "repixnet", "args": ARGS, "multiple_of": 4, "tiling": None}
    return ModelCard.model_validate({**values, "licence": "MIT", **changes})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mine"
    save_model(trained(), card(), folder, half=True, onnx_only=True)
    return folder


@pytest.fixture
def one_form(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "mine"))


def test_every_weight_comes_back(one_form: Path) -> None:
    net = trained()
    assert set(find_card(one_form)[0].forms) == {"onnx-fp16"}
    assert sorted(path.name for path in one_form.iterdir()) == ["card.json", "model.onnx"]
    back = load_network(one_form)
    assert not back.training
    for (key, got), (name, was) in zip(back.state_dict().items(), net.state_dict().items(), strict=True):
        assert key == name
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, was.half().float() if was.numel() >= 8 else was, atol=0, rtol=0)


def test_in_full_precision_to_the_bit_and_in_the_place_of_two_forms(tmp_path: Path) -> None:
    net = trained()
    for onnx_only, files in ((False, {"model.onnx", "model.safetensors"}), (True, {"model.onnx"})):
        save_model(net, card(), tmp_path / "mine", onnx_only=onnx_only)
        assert {path.name for path in (tmp_path / "mine").iterdir()} == files | {"card.json"}
        for key, value in load_state(*find_card(tmp_path / "mine")).items():
            assert torch.equal(value, net.state_dict()[key])


def test_weights_that_the_exporter_changes_are_not_taken_for_the_networks(tmp_path: Path) -> None:
    net = trained(batch_norm=True)
    with pytest.raises(WeightsError, match=r"24 tensors differ, .* got no tensor, .*without --onnx-only"):
        save_model(net, card(args={**ARGS, "batch_norm": True}), tmp_path / "mine", onnx_only=True)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            {"channels": [8, 24]},
            r"6 tensors differ, first downs.0.weight: got \(16, 8, 2, 2\), expected \(24, 8, 2, 2\)",
        ),
        ({"middle": 2}, r"2 tensors differ, first middle.1.body.0.weight: got no tensor, expected \(16, 16, 3, 3\)"),
        # of the same names and shapes, but another network
        ({"predict": "image"}, r"differs from it by .* \(at most 1e-04 is accepted\)"),
    ],
)
def test_an_onnx_file_of_another_network(one_form: Path, args: dict[str, object], said: str) -> None:
    save_card(card(args={**ARGS, **args}), one_form, forms={"onnx-fp16": "model.onnx"})
    with pytest.raises(
        WeightsError, match=said + r".*; (it was made of other weights; )?take a model with safetensors"
    ):
        load_network(one_form)


def test_what_holds_no_weights_for_torch(one_form: Path) -> None:
    save_card(card(), one_form, forms={"onnx-int8": "model.onnx"})
    with pytest.raises(WeightsError, match=r"lists: onnx-int8\); torch needs weights in floating point$"):
        load_network(one_form)
    (one_form / "model.onnx").write_bytes(b"nothing of the kind")
    for form, kind in (("onnx-fp16", "ONNX"), ("safetensors-fp16", "safetensors")):
        save_card(card(), one_form, forms={form: "model.onnx"})
        with pytest.raises(WeightsError, match=f"its weights are no {kind}"):
            load_network(one_form)


def test_onnx_files_that_others_have_changed(one_form: Path) -> None:
    file = one_form / "model.onnx"
    whole = onnx.load(file)

    def load_changed(change: Callable[[onnx.ModelProto], object]) -> None:
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        change(changed)
        file.write_bytes(changed.SerializeToString())
        save_card(card(), one_form, forms={"onnx-fp16": "model.onnx"})
        load_network(one_form)

    def move_out(model: onnx.ModelProto) -> None:
        onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
        onnx.external_data_helper.write_external_data_tensors(model, str(one_form))

    with pytest.raises(
        WeightsError, match=r"model.onnx: \d+ tensors lie in a file beside it, first .* without --onnx-"
    ):
        load_changed(move_out)
    with pytest.raises(WeightsError, match=r"model.onnx: its weights are no ONNX \(it holds no network\)"):
        load_changed(lambda model: model.Clear())
    with pytest.raises(
        WeightsError, match=r"model.onnx: ONNX Runtime cannot run the network on cpu: .*safetensors"
    ) as e:
        load_changed(lambda model: model.opset_import[0].__setattr__("version", 999))
    assert "--device" not in str(e.value)


@pytest.mark.parametrize("form", ["onnx-fp32", "onnx-fp16", "safetensors-fp32"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(form: str, value: float, tmp_path: Path) -> None:
    half = form.endswith("16")
    folder = tmp_path / "mine"
    save_model(trained(), card(), folder, half=half)
    file = folder / ("model.onnx" if form.startswith("onnx") else "model.safetensors")
    if form.startswith("onnx"):
        model = onnx.load(file)
        (stored,) = (one for one in model.graph.initializer if one.name.startswith("middle.0.body.0.weight"))
        values = onnx.numpy_helper.to_array(stored).copy()
        values[0, 0, 0, 0] = value
        stored.CopyFrom(onnx.numpy_helper.from_array(values, stored.name))
        file.write_bytes(model.SerializeToString())
    else:
        state = safetensors.torch.load_file(file)
        state["middle.0.body.0.weight"][0, 0, 0, 0] = value
        safetensors.torch.save_file(state, file)
    save_card(card(), folder, forms={form: file.name})
    said = r"1 tensor holds NaN or infinity, first middle.0.body.0.weight; these weights are damaged"
    for load in (load_network, load_frozen, lambda model: start_from(trained(), model)):
        with pytest.raises(WeightsError, match=said):
            load(str(folder))


def test_what_is_computed_may_not_be_finite_either(one_form: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ({"a": float("nan"), "b": 0.0}, {"a": 0.0, "b": float("nan")}):
        monkeypatch.setattr("repix.models.stored.onnx_parity", lambda *_, found=found, **__: found)
        with pytest.raises(WeightsError, match=r"model.onnx: what it computes is NaN or infinite"):
            load_network(one_form)


def test_nothing_that_is_not_finite_is_saved(tmp_path: Path) -> None:
    net = trained()
    with torch.no_grad():
        net.get_submodule("downs.0").bias[3] = float("nan")
    with pytest.raises(WeightsError, match=r"^mine: 1 tensor holds NaN or infinity, first downs.0.bias"):
        save_model(net, card(), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_training_starts_from_it_and_is_taught_by_it(one_form: Path) -> None:
    deeper = create_model("repixnet", **{**ARGS, "middle": 3})
    start_from(deeper, str(one_form))
    x = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(deeper(x), load_network(one_form)(x))
    stage = {"steps": 1, "patch": 32, "losses": {"l1": 1.0}, "teacher_weight": 1.0}
    values = {"name": "taught", "model": "repixnet", "data": {"photos": ["nowhere"]}, "stages": [stage]}
    task = RestorationTask(parse_recipe({**values, "init": str(one_form), "teacher": str(one_form)}))
    task.net.eval()
    batch = {side: torch.rand(2, 3, 32, 32) for side in ("lq", "gt")}
    assert float(task.training_step(batch, 0).detach()) < 1e-6  # it is its own teacher


def test_a_teacher_from_elsewhere_runs_no_code(one_form: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('ran', 'w').close()\nclass Net: ...")
    one_form.rename("evil")
    save_card(card(arch="evil.py:Net", args={}), tmp_path / "evil", forms={"onnx-fp16": "model.onnx"})
    for load in (load_frozen, lambda model: start_from(trained(), model)):
        with pytest.raises(UntrustedCodeError, match=r"Net in .*--trust"):
            load("evil")
    assert not Path("ran").exists()


def test_commands_with_one_form(
    tmp_path: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a run by `repix export` to what users do with it."""
    monkeypatch.chdir(tmp_path)
    write_image("photo.png", Picture(photo))
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text(
        f"name: few\nmodel: repixnet\nargs: {ARGS}\ndata: {{photos: photos}}\nstages: [{{steps: 1}}]\nema_decay: 0\n"
    )
    state = {f"net.{key}": value for key, value in trained().state_dict().items()}
    torch.save({"state_dict": state, "global_step": 1}, "run/last.ckpt")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(list(words))
        assert stopped.value.code == 0
        return capsys.readouterr().out

    run("export", "run", "-o", "one", "--name", "one", "--half", "--onnx-only")
    assert set(find_card("one")[0].forms) == {"onnx-fp16"}
    assert "onnx-fp16         model.onnx" in run("models", "one")
    run("derain", "photo.png", "--model", "one", "--quality", "best", "--device", "cpu", "-o", "out.png")
    assert "photo.rain.png" in run("inspect", "photo.png", "--show", "rain", "--model", "one")
    seen = inspect("rain", photo, model="one").arrays["estimate"]
    made = Restorer.from_pretrained("one", "cpu", quality="draft")(photo)
    assert Adapter(load_network("one")).multiple_of == 4
    assert np.abs(seen * 255 - made).max() < 1


def test_a_card_that_names_no_network_is_to_blame_and_not_the_recipe(one_form: Path) -> None:
    broken = card(args={**ARGS, "width": 3})
    with pytest.raises(WeightsError, match=r"the card of 'mine' names a network that cannot be made: .*'width'"):
        load_state(save_card(broken, one_form, forms={"onnx-fp16": "model.onnx"}), one_form)


def test_what_is_no_onnx_says_what_to_do(one_form: Path) -> None:
    (one_form / "model.onnx").write_bytes((one_form / "model.onnx").read_bytes()[:20_000])
    with pytest.raises(WeightsError, match=r"its weights are no ONNX .*; take a model with safetensors"):
        load_state(save_card(card(), one_form, forms={"onnx-fp16": "model.onnx"}), one_form)
