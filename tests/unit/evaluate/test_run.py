"""One table over sets, models and images; means over images; the protocols."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fake_backend import FakeBackend
from repix._types import Floats
from repix.cli import main
from repix.data.pairs import Pair, find_pairs, find_pairs_in
from repix.errors import InputError
from repix.evaluate.figures import contact_sheet, quality_plot
from repix.evaluate.run import evaluate
from repix.evaluate.table import EvalTable, EvaluationStopped
from repix.figures import save_figure
from repix.infer.restorer import Quality, Restorer
from repix.io.image import Picture, read_image, write_image
from repix.metrics import METRICS, psnr_y
from repix.palettes import PALETTES
from repix.weights import ModelCard, Tiling, save_card

Image = np.ndarray


def darker(image: Image) -> Image:
    """Subtracts 10 (of 255) in the image's own type."""
    unit = np.iinfo(image.dtype).max // 255
    return np.maximum(image.astype(np.int64) - 10 * unit, 0).astype(image.dtype)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pairs of unequal sizes: rain is +10 and noise on the ground truth."""
    rng = np.random.default_rng(3)
    for number, side in enumerate((16, 20, 40)):
        gt = rng.integers(40, 200, (side, side + 4, 3), dtype=np.uint8)
        lq = gt + 10 + rng.integers(0, 1 + 3 * number, gt.shape, dtype=np.uint8)
        write_image(tmp_path / "set" / "input" / f"{number}.png", Picture(lq))
        write_image(tmp_path / "set" / "target" / f"{number}.png", Picture(gt))
    return tmp_path / "set"


def by(table: EvalTable, model: str) -> dict[str | None, dict[str, float]]:
    return {row.image: dict(row.values) for row in (*table.images, *table.means) if row.model == model}


def test_means_are_over_images(data: Path) -> None:
    table = evaluate({"darker": darker}, find_pairs(data))
    assert [(row.model, row.images) for row in table.means] == [("input", 3), ("darker", 3)]
    rows = by(table, "input")
    assert rows[None]["psnr_y"] == pytest.approx(fmean(rows[name]["psnr_y"] for name in "012"))
    assert by(table, "darker")["0"]["psnr_y"] == math.inf  # the first image has no noise
    assert by(table, "darker")["2"]["psnr_rgb"] > rows["2"]["psnr_rgb"]
    assert rows["1"].keys() == {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    for row in table.means:
        assert (row.seconds_per_megapixel is None) == (row.model == "input")


def test_transparency_is_not_measured_and_that_is_said_once(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    opaque = evaluate({"darker": darker}, find_pairs(data))
    for file in (data / "input").iterdir():
        pixels = read_image(file).pixels
        write_image(file, Picture(pixels, alpha=np.full(pixels.shape[:2], 9, np.uint8)))
    transparent = evaluate({"darker": darker}, find_pairs(data))
    assert by(transparent, "darker") == by(opaque, "darker")
    assert [str(data / "input") in record.getMessage() for record in caplog.records] == [True]


def test_a_model_sees_the_images_of_the_files(data: Path) -> None:
    seen: list[tuple[tuple[int, ...], type]] = []

    def note(image: Image) -> Image:
        seen.append((image.shape, image.dtype.type))
        return image

    evaluate({"note": note}, find_pairs(data), metrics=["psnr_y"])
    assert seen == [((16, 20, 3), np.uint8)] * 2 + [((20, 24, 3), np.uint8), ((40, 44, 3), np.uint8)]  # a warm-up first


class Brighter(FakeBackend):
    """A backend whose network is 0.7 of a grey level too bright."""

    def apply(self, x: Floats) -> Floats:
        return x + np.float32(0.7 / 255)


def test_protocol_paper_truncates(tmp_path: Path) -> None:
    """Rounding is one level off, truncation right."""
    gt = np.full((16, 16, 3), 100, np.uint8)
    write_image(tmp_path / "input" / "a.png", Picture(gt))
    write_image(tmp_path / "target" / "a.png", Picture(gt))
    pairs, restorers = find_pairs(tmp_path), {"brighter": Restorer(Brighter())}
    rounded = evaluate(restorers, pairs, metrics=["psnr_y"])
    truncated = evaluate(restorers, pairs, metrics=["psnr_y"], protocol="paper")
    assert by(rounded, "brighter")["a"]["psnr_y"] == pytest.approx(psnr_y(gt + 1, gt))
    assert by(truncated, "brighter")["a"]["psnr_y"] == math.inf
    assert "truncated" in truncated.note


def test_several_sets_and_pairs_in_one_file(data: Path, tmp_path: Path) -> None:
    both = np.hstack([np.full((16, 16, 3), 110, np.uint8), np.full((16, 16, 3), 100, np.uint8)])
    write_image(tmp_path / "sides" / "1.png", Picture(both))
    sets = {"files": find_pairs(data), "halves": find_pairs(tmp_path / "sides")}
    table = evaluate({"darker": darker}, sets, metrics=["psnr_rgb"])
    assert [(row.data, row.model) for row in table.means] == [
        ("files", "input"),
        ("files", "darker"),
        ("halves", "input"),
        ("halves", "darker"),
    ]
    assert table.means[2].values["psnr_rgb"] == pytest.approx(20 * math.log10(25.5))
    assert table.means[3].values["psnr_rgb"] == math.inf


def test_the_forms_of_a_table(data: Path) -> None:
    table = evaluate({"a|b": darker}, {"set": find_pairs(data)}, metrics=["psnr_y", "ssim_y"])
    rows = list(csv.DictReader(io.StringIO(table.to_csv(per_image=True))))
    assert len(rows) == 3 * 2 + 2
    assert rows[-1]["image"] == "mean"
    assert rows[-1]["protocol"] == "default"
    assert float(rows[-2]["psnr_y"]) == pytest.approx(by(table, "input")[None]["psnr_y"], abs=0.005)
    report = json.loads(table.to_json())
    assert report["means"][0]["images"] == 3
    assert report["means"][0]["ssim_y"] == by(table, "input")[None]["ssim_y"]
    assert report["means"][1]["psnr_y"] is None  # infinite
    others = fmean(by(table, "a|b")[name]["psnr_y"] for name in "12")
    assert (report["means"][1]["identical"], report["means"][1]["psnr_y_others"]) == (1, pytest.approx(others))
    assert (rows[-1]["psnr_y"], rows[-1]["identical"]) == ("inf", "1")
    assert float(rows[-1]["psnr_y_others"]) == pytest.approx(others, abs=0.005)
    assert rows[-2]["identical"] == "0"
    assert "identical" in table.note
    assert "images" not in report
    assert len(json.loads(table.to_json(per_image=True))["images"]) == 6
    header, rule, *body = table.to_markdown().splitlines()
    assert header == "| data | model | images | psnr_y | ssim_y | identical | psnr_y_others | s_per_mp |"
    assert rule == "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert body[1].startswith("| set | a\\|b | 3 | inf |")
    latex = table.to_latex().splitlines()
    assert latex[:3] == [
        f"% {table.note}",
        r"\begin{tabular}{llrrrrrr}",
        r"data & model & images & psnr\_y & ssim\_y & identical & psnr\_y\_others & s\_per\_mp \\",
    ]
    assert latex[5].startswith(r"set & a|b & 3 & inf & ")
    assert latex[-1] == r"\end{tabular}"
    lines = table.to_text().splitlines()
    assert lines[0].split() == ["data", "model", "images", "psnr_y", "ssim_y", "identical", "psnr_y_others", "s_per_mp"]
    assert lines[-1] == table.note


def test_resize128_squeezes_before_the_network(data: Path) -> None:
    """An image that is one level brighter everywhere stays so, at another size."""
    seen = []

    def note(image: Image) -> Image:
        seen.append(image.shape)
        return image

    table = evaluate({"note": note}, find_pairs(data), metrics=["psnr_rgb", "ssim_rgb_7x7"], protocol="resize128")
    assert set(seen) == {(128, 128, 3)}
    assert by(table, "input")["0"]["psnr_rgb"] == pytest.approx(20 * math.log10(255 / 10), abs=0.1)
    assert "squeezed to 128x128" in table.note
    assert "MATLAB" not in table.note


def test_parameters_and_multiply_adds(data: Path) -> None:
    """PReNet's own counts: 169 k parameters, 66 GMAC at 256×256; the recurrence of SPANet passes on shapes alone."""
    restorers = {}
    for arch, args in (("prenet", {}), ("progressive_spanet", {"stages": 1, "channels": 4})):
        card = ModelCard(name=arch, task="derain", arch=arch, args=args, tiling=None, licence="CC0-1.0")
        restorers[arch] = Restorer(Brighter(), card=card)
    table = evaluate({**restorers, "function": darker}, find_pairs(data), metrics=["psnr_y"])
    assert table.costs["prenet"].parameters == 168_963
    assert table.costs["prenet"].gmacs == pytest.approx(66.4, abs=0.3)
    assert table.costs["progressive_spanet"].gmacs > 0
    assert "function" not in table.costs
    header = table.to_csv().splitlines()[0].split(",")
    assert header[-3:] == ["parameters", "gmac_256", "protocol"]
    assert json.loads(table.to_json())["costs"]["prenet"]["parameters"] == 168_963


def test_quality_best_costs_four_runs(data: Path) -> None:
    args = {"channels": [4, 4], "encoder": [1], "middle": 1, "decoder": [1]}
    card = ModelCard(name="tiny", task="derain", arch="repixnet", args=args, tiling=None, licence="CC0-1.0")
    qualities: tuple[Quality, ...] = ("fast", "best")
    restorers = {quality: Restorer(Brighter(), quality=quality, card=card) for quality in qualities}
    costs = evaluate(restorers, find_pairs(data), metrics=["psnr_y"]).costs
    assert costs["best"].gmacs == pytest.approx(4 * costs["fast"].gmacs)
    assert costs["best"].parameters == costs["fast"].parameters


def test_contact_sheet_and_plot_show_the_table(data: Path, tmp_path: Path) -> None:
    spot = np.full((40, 50, 3), 100, np.uint8)
    write_image(tmp_path / "other" / "target" / "a.png", Picture(spot))
    spot[30:35, 40:45] = 200
    write_image(tmp_path / "other" / "input" / "a.png", Picture(spot))
    pairs = {"set": find_pairs(data), "other": find_pairs(tmp_path / "other")}
    restorers = {"darker": darker, "same": lambda image: image}
    table = evaluate(restorers, pairs, metrics=["psnr_y"])
    sheet = contact_sheet(restorers, pairs, table, side=8)
    assert sheet.columns == 4
    labels = [panel.label for panel in sheet.panels]
    assert len(labels) == 4 * 4
    worst = min(
        (row for row in table.images if row.model == "darker" and row.data == "set"), key=lambda r: r.values["psnr_y"]
    )
    assert labels[0] == f"set: {worst.image} (worst)"
    assert labels[1].startswith("darker: psnr_y")
    crop, ground = sheet.panels[8].image, sheet.panels[11].image
    assert (crop == 200).any()  # the crop is where the rain is
    assert crop.shape == ground.shape == (8, 8, 3)
    save_figure(sheet, tmp_path / "sheet.png")
    plot = quality_plot(table)
    assert [panel.label for panel in plot.panels] == ["set", "other"]
    assert plot.panels[0].points is not None
    assert set(plot.panels[0].points) == {"darker", "same"}
    save_figure(plot, tmp_path / "plot.png")
    assert read_image(tmp_path / "sheet.png").pixels.std() > 10
    assert read_image(tmp_path / "plot.png").pixels.std() > 10


LABELS = [("wall", (0, 0, 200)), ("void", (0, 0, 0)), ("window", (0, 200, 0)), ("void", (200, 0, 0))]


def translator(card: dict[str, object] | None = None, shift: float = 0.0) -> Restorer:
    """Gives back what it is given, `shift` of a grey level brighter."""

    class Shift(FakeBackend):
        def apply(self, x: Floats) -> Floats:
            return x + np.float32(shift / 255)

    values = {"name": "t", "task": "translate", "arch": "none", "tiling": None, "licence": "CC0-1.0", **(card or {})}
    return Restorer(Shift(), card=ModelCard.model_validate(values))


def test_label_maps_are_measured_by_their_labels(tmp_path: Path) -> None:
    """Two images: one all right, one where half of what counts is taken for another class or void."""
    colours = np.array([rgb for _, rgb in LABELS], np.uint8)
    grounds = [np.zeros((20, 20), int), np.zeros((20, 20), int)]
    grounds[0][10:] = 2
    grounds[1][:, 10:] = 3  # void
    preds = [grounds[0], grounds[1].copy()]
    preds[1][:10] = 1  # void for wall, and one void for the other
    for number, (pred, gt) in enumerate(zip(preds, grounds, strict=True)):
        noise = np.random.default_rng(number).integers(0, 30, (20, 20, 3), dtype=np.uint8)
        write_image(tmp_path / "set" / "input" / f"{number}.png", Picture(colours[pred] + noise))
        write_image(tmp_path / "set" / "target" / f"{number}.png", Picture(colours[gt].astype(np.uint16) * 257))
    table = evaluate({"t": translator({"palette": LABELS})}, {"set": find_pairs(tmp_path / "set")})
    assert table.metrics == ("l1_pm1", "psnr_rgb", "ssim_rgb", "label_accuracy", "mean_iou_pooled")
    rows = by(table, "t")
    assert rows["0"]["label_accuracy"] == 1.0
    assert rows["1"]["label_accuracy"] == 0.5
    assert "mean_iou_pooled" not in rows["0"]
    assert rows[None]["label_accuracy"] == 0.75
    # wall: 300 of its 400 pixels, window: all; what is void in ground truth does not count
    assert rows[None]["mean_iou_pooled"] == pytest.approx((300 / 400 + 1) / 2)
    assert "nearest colour" in table.note
    texts = list(csv.DictReader(io.StringIO(table.to_csv(per_image=True))))
    assert [row["mean_iou_pooled"] for row in texts if row["model"] == "t"] == ["", "", "0.8750"]
    report = json.loads(table.to_json(per_image=True))
    assert report["means"][1]["mean_iou_pooled"] == pytest.approx(0.875)
    sheet = contact_sheet({"t": translator()}, {"set": find_pairs(tmp_path / "set")}, table)
    assert sheet.panels[0].label == "set: 1 (worst)"  # L1 is worst where it is highest
    assert sheet.panels[0].image is not None
    assert sheet.panels[0].image.shape == (20, 20, 3)  # whole
    with pytest.raises(InputError, match="needs a palette"):
        evaluate({"t": translator()}, find_pairs(tmp_path / "set"), metrics=["label_accuracy"])


def test_direction_is_the_cards(tmp_path: Path) -> None:
    both = np.hstack([np.full((16, 16, 3), 110, np.uint8), np.full((16, 16, 3), 100, np.uint8)])
    write_image(tmp_path / "sides" / "1.png", Picture(both))
    pairs = find_pairs(tmp_path / "sides")
    back = {"direction": "BtoA"}
    table = evaluate({"t": translator(back, shift=10)}, pairs)
    assert table.metrics == ("l1_pm1", "psnr_rgb", "ssim_rgb")
    assert by(table, "t")["1"]["psnr_rgb"] == math.inf  # 100 + 10 against 110
    assert by(evaluate({"t": translator(shift=10)}, pairs), "t")["1"]["l1_pm1"] == pytest.approx(20 / 127.5)
    assert contact_sheet({"t": translator(back)}, {"data": pairs}, table).panels[2].image[0, 0, 0] == 110  # type: ignore[index]
    with pytest.raises(InputError, match="both directions"):
        evaluate({"a": translator(), "b": translator(back)}, pairs)
    for side, level in (("labels", 100), ("photos", 110)):
        write_image(tmp_path / side / "1.png", Picture(np.full((16, 16, 3), level, np.uint8)))
    given = find_pairs_in(tmp_path / "labels", tmp_path / "photos")  # who says which is which is not contradicted
    assert by(evaluate({"t": translator(back, shift=10)}, given), "t")["1"]["psnr_rgb"] == math.inf


def test_kernel_distance_is_of_the_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ground truth goes with which estimate does not matter to it."""

    class Distance:
        def __init__(self, weights: object) -> None:
            assert weights == "vgg.pth"
            self.seen: list[float] = []

        def add(self, pred: Image, gt: Image) -> None:
            self.seen.append(float(pred.mean()) - float(gt.mean()))

        def values(self) -> dict[str, float]:
            return {"kid_vgg16": sum(self.seen), "kid_vgg16_std": len(self.seen)}

    for name in ("kid_vgg16", "kid_vgg16_std"):
        monkeypatch.setitem(METRICS, name, replace(METRICS[name], measure=Distance))  # type: ignore[arg-type]
    table = evaluate({"t": translator()}, find_pairs(data), backbone="vgg.pth")
    assert table.metrics == ("l1_pm1", "psnr_rgb", "ssim_rgb", "kid_vgg16", "kid_vgg16_std")
    assert "kid_vgg16" not in by(table, "input")[None]
    assert by(table, "t")[None]["kid_vgg16"] > 30
    assert by(table, "t")[None]["kid_vgg16_std"] == 3
    assert "kid_vgg16" not in by(table, "t")["0"]
    only = evaluate({"t": translator()}, find_pairs(data), metrics=["kid_vgg16"], backbone="vgg.pth")
    assert list(only.means[1].values) == ["kid_vgg16"]
    with pytest.raises(InputError, match="no value for a single image"):
        contact_sheet({"t": translator()}, {"data": find_pairs(data)}, only)


def test_wrong_arguments_are_told(data: Path) -> None:
    pairs = find_pairs(data)
    with pytest.raises(InputError, match=r"'psnr'; did you mean 'psnr_y'\? .* psnr_y and psnr_rgb do not compare"):
        evaluate({}, pairs, metrics=["psnr"])
    with pytest.raises(InputError, match="unknown metric 'lpip'; did you mean 'lpips'"):
        evaluate({}, pairs, metrics=["lpip"])
    with pytest.raises(InputError, match="unknown protocol 'papers'; did you mean 'paper'"):
        evaluate({}, pairs, protocol="papers")
    with pytest.raises(InputError, match="no pairs in data"):
        evaluate({}, [])
    with pytest.raises(InputError, match="cannot be called 'input'"):
        evaluate({"input": darker}, pairs)
    with pytest.raises(InputError, match=r"the palette does nothing for psnr_y; it is for .*label_accuracy"):
        evaluate({}, pairs, metrics=["psnr_y"], palette=PALETTES["facades"])
    with pytest.raises(InputError, match="the backbone does nothing for psnr_y; it is for lpips, kid_vgg16"):
        evaluate({}, pairs, metrics=["psnr_y"], backbone="x.pth")
    with pytest.raises(InputError, match=r"0\.png: got images of 20x16, expected at least 31x31"):
        evaluate({}, pairs, metrics=["lpips"])
    (data / "input" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with pytest.raises(InputError, match=r"1\.png"):
        evaluate({}, [Pair("1", data / "input" / "1.png", data / "target" / "1.png")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lq", "."], "--lq and --gt belong together"),
        ([], "give pairs"),
        (["--data", "nowhere"], "nowhere is missing"),
        (["--lq", "a", "--gt", "b"], "a is missing"),
    ],
)
def test_the_command_line_tells_what_is_missing(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def weight(tmp_path: Path) -> Path:
    """A weight that subtracts 10/255."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, "H", "W"]) for name in ("x", "y")]
    ten = numpy_helper.from_array(np.float32(10 / 255), "ten")
    graph = helper.make_graph([helper.make_node("Sub", ["x", "ten"], ["y"])], "darker", ends[:1], ends[1:], [ten])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    folder = tmp_path / "darker"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    save_card(
        ModelCard(name="darker", task="derain", arch="none", tiling=Tiling(), licence="CC0-1.0"),
        folder,
        forms={"onnx-fp32": "model.onnx"},
    )
    return folder


def test_the_command_line_writes_what_evaluate_measures(
    data: Path, weight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"--{name}={tmp_path / 'out' / f'table.{name}'}" for name in ("json", "csv", "markdown")]
    files += ["--sheet", str(tmp_path / "out" / "sheet.png"), "--plot", str(tmp_path / "out" / "plot.png")]
    with pytest.raises(SystemExit) as stopped:
        main(
            ["evaluate", "--model", str(weight), "--data", str(data), "--protocol", "paper", "--device", "cpu", *files]
        )
    assert stopped.value.code == 0
    report = json.loads((tmp_path / "out" / "table.json").read_text())
    restorers = {str(weight): Restorer.from_pretrained(weight)}
    expected = evaluate(restorers, {"set": find_pairs(data)}, protocol="paper")
    for row, mean in zip(report["means"], expected.means, strict=True):
        assert (row["data"], row["model"], row["images"]) == (mean.data, mean.model, mean.images)
        assert row["psnr_rgb"] == (None if mean.values["psnr_rgb"] == math.inf else mean.values["psnr_rgb"])
    assert "Protocol paper" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert "Protocol paper" in (tmp_path / "out" / "table.markdown").read_text()
    assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 3


def test_the_command_line_writes_no_table_over_a_pair(
    data: Path, weight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = find_pairs(data)[0]
    before = pair.gt.read_bytes()
    for option, file in (("--csv", pair.gt), ("--sheet", pair.lq), ("--json", pair.lq)):
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", "--model", str(weight), "--data", str(data), option, str(file)])
        assert stopped.value.code == 2
        assert f"{file} is an input and would be overwritten" in capsys.readouterr().err
    assert pair.gt.read_bytes() == before


def test_the_command_line_measures_both_qualities(
    data: Path, weight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(weight), "--data", str(data), "--metric", "psnr_rgb", "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *arguments, "--quality", "fast", "--quality", "best", "--json", str(tmp_path / "table.json")])
    assert stopped.value.code == 0
    report = json.loads((tmp_path / "table.json").read_text())
    assert [row["model"] for row in report["means"]] == ["input", str(weight), f"{weight} (best)"]
    # the network looks at single pixels: held in any way it finds the same
    assert report["means"][1]["psnr_rgb"] == report["means"][2]["psnr_rgb"]


def test_a_table_that_cannot_be_written_loses_no_values(
    data: Path, weight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").mkdir()
    (tmp_path / "file").write_text("in the way")
    lq, gt = str(data / "input"), str(data / "target")

    def run(table: Path) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", "--model", str(weight), "--lq", lq, "--gt", gt, "--csv", str(table)])
        assert stopped.value.code == 2

    run(tmp_path / "file" / "table.csv")
    out = capsys.readouterr()
    assert out.out == ""  # nothing was measured
    assert "file is a file, not a folder" in out.err
    run(tmp_path / "table.csv")
    out = capsys.readouterr()
    assert "set/input" in out.out  # the values are not lost
    assert "table.csv: cannot be written" in out.err


def test_an_interrupt_costs_no_value_that_every_model_has(data: Path) -> None:
    pairs = find_pairs(data)
    seen: list[int] = []

    def stopping(image: Image) -> Image:
        seen.append(1)
        if len(seen) > 2:  # the first run of all is a warm one
            raise KeyboardInterrupt
        return image

    with pytest.raises(EvaluationStopped) as stop:
        evaluate({"first": darker, "stopping": stopping}, pairs)
    table = stop.value.table
    whole = evaluate({"first": darker}, pairs[:1])
    assert [(row.model, row.image) for row in table.images] == [
        (m, pairs[0].name) for m in ("input", "first", "stopping")
    ]
    assert table.means[1].values == whole.means[1].values
    seen.extend([1, 1])
    with pytest.raises(KeyboardInterrupt) as none:
        evaluate({"stopping": stopping}, pairs)
    assert not isinstance(none.value, EvaluationStopped)
