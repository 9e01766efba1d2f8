"""ONNX graphs are vetted, stored, served and refused as estimators are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.errors import InputError, RefusedModelError
from headrace.models import vault, vetting
from headrace.models.card import Card
from headrace.models.graph import Graph
from headrace.models.quarantine import examine
from headrace.models.registry import Registry

CARD = Card(name="net", kind="classification", labels=("a", "b", "c"))
WEIGHTS = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def graph(
    *operators: str,
    outputs: tuple[str, ...] = ("y",),
    shape: tuple[Any, ...] = (None, 4),
    kind: int = TensorProto.FLOAT,
    weights: Any = WEIGHTS,
) -> bytes:
    """A product with weights, then `operators` one after the other; the last one's result is y."""
    nodes, last = [], "x"
    for number, operator in enumerate(("MatMul", *operators)):
        name = "y" if number == len(operators) else f"t{number}"
        nodes.append(helper.make_node(operator, [last, "w"] if number == 0 else [last], [name]))
        last = name
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [numpy_helper.from_array(weights, "w")],
        ),
        producer_name="a test",
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    content: bytes = made.SerializeToString()
    return content


def softmax(rows: Any) -> Any:
    powers = np.exp(rows @ WEIGHTS)
    return powers / powers.sum(axis=1, keepdims=True)


def test_a_classifier_is_vetted_by_a_child_stored_promoted_opened_and_scores_as_exported(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    stored = registry.add(graph("Softmax"), CARD)
    assert (stored.form, stored.algorithm, stored.n_features) == ("onnx", "ONNX graph of a test", 4)
    assert stored.libraries == vetting.libraries()
    assert (tmp_path / "files" / f"{stored.sha256}.onnx").exists()
    registry.promote("net", 1)
    rows = np.random.default_rng(0).normal(size=(5, 4))
    scores = Registry(tmp_path).open("net").score(rows)
    assert scores.probabilities is not None
    assert scores.labels is not None
    assert np.allclose(scores.probabilities, softmax(rows), atol=1e-6)
    assert scores.labels.tolist() == softmax(rows).argmax(axis=1).tolist()


@pytest.mark.parametrize("squeezed", [False, True])
def test_a_graph_of_one_column_is_a_regression(squeezed: bool) -> None:
    found = Graph(graph(*(["Squeeze"] if squeezed else []), weights=WEIGHTS[:, :1]))
    rows = np.ones((2, 4), dtype=np.float32)
    assert (found.kind, found.n_classes) == ("regression", 0)
    assert np.allclose(found.predict(rows), rows @ WEIGHTS[:, 0])


def test_a_graph_of_doubles_gets_doubles() -> None:
    found = Graph(graph("Softmax", kind=TensorProto.DOUBLE, weights=WEIGHTS.astype(np.float64)))
    assert found.predict_proba(np.ones((1, 4), dtype=np.float32)).dtype == np.float64


def test_rows_with_missing_values_are_refused_as_no_graph_says_what_they_mean(tmp_path: Path) -> None:
    registry = Registry(tmp_path, vet=lambda content, limits: examine(content))
    registry.add(graph("Softmax"), CARD)
    rows = np.ones((2, 4))
    rows[1, 2] = np.nan
    with pytest.raises(InputError, match="row 1, column 2 is nan"):
        registry.open("net", 1).check(rows)


def test_rows_that_a_graph_fails_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the ONNX graph failed"):
        Graph(graph("Softmax")).predict_proba(np.ones((2, 5), dtype=np.float32))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (graph(), "are no probabilities"),
        (graph("Softmax", "Neg"), "are no probabilities"),
        (graph("Sqrt", weights=-abs(WEIGHTS)), "not finite"),
        (graph("Softmax", shape=(None, None)), "does not take one matrix of floats"),
        (graph("Softmax", shape=(None, 2, 4)), "does not take one matrix of floats"),
        (graph("Softmax", shape=(1, 4)), "takes 1 rows at a time"),
        (graph("Softmax", "Identity", outputs=("y", "t1")), "has 2 outputs of floats"),
        (graph("Softmax")[:-9], "damaged or not taken"),
        (graph("NoSuchOperator"), "damaged or not taken"),
    ],
)
def test_what_cannot_serve_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(RefusedModelError, match=said):
        examine(content)


def test_a_graph_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(graph("Softmax"))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(RefusedModelError, match="refers to other files"):
        vault.unpack((tmp_path / "net.onnx").read_bytes())


def test_a_file_of_another_form_than_its_card_says_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path, vet=lambda content, limits: examine(content))
    stored = registry.add(graph("Softmax"), CARD)
    (tmp_path / "files" / f"{stored.sha256}.onnx").write_bytes(b"PK\x03\x04")
    with pytest.raises(RefusedModelError, match="is no onnx file"):
        registry.open("net", 1)


def test_without_onnx_runtime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(RefusedModelError, match=r"headrace\[onnx\]"):
        Graph(graph("Softmax"))
