"""Models whose networks are exact and instant."""

from __future__ import annotations

from pathlib import Path

from repix.weights import ModelCard, save_card


def write_weight(folder: Path, name: str, *, factor: float = 0.4, **card: object) -> Path:
    """A model folder (card.json, model.onnx) in `folder` whose network multiplies every value by `factor`."""
    import onnx

    shape: list[str | int | None] = ["n", 3, "h", "w"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "factor"], ["y"])],
        name,
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [factor])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    made = folder / name
    made.mkdir(parents=True)
    (made / "model.onnx").write_bytes(model.SerializeToString())
    settings = {"task": "derain", "arch": "none", "tiling": None, "licence": "Apache-2.0"} | card
    save_card(ModelCard.model_validate({"name": name, **settings}), made, forms={"onnx-fp32": "model.onnx"})
    return made
