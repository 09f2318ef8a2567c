"""Neural networks, where their libraries are installed: they are large, and no part of the default test set."""

import importlib.util
import os
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from drafts import draft, golden

from cloche.authoring.kinds import KerasModel, TorchModule, kind_of
from cloche.authoring.preparing import prepare
from cloche.errors import NotPublishable

ARRAY = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 0.5]])


@pytest.fixture
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch", reason="needs cloche[torch]")


@pytest.fixture
def network(torch):
    torch.manual_seed(7)
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).eval()


def said(torch, network):
    with torch.inference_mode():
        return network(torch.tensor(ARRAY, dtype=torch.float32)).numpy().ravel().tolist()


def exported(torch, network):
    rows = torch.export.Dim("rows", min=1)
    return torch.export.export(network, (torch.zeros(2, 2),), dynamic_shapes=({0: rows},))


@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_answers_as_its_network(torch, network):
    prepared = prepare(draft(exported(torch, network), ARRAY))
    assert (prepared.manifest.flavor, prepared.manifest.entry) == ("torch", "files/model.pt2")
    assert [case["output"] for case in golden(prepared)] == pytest.approx(said(torch, network), rel=1e-5)
    assert "torch" in prepared.manifest.environment.distributions


@pytest.mark.filterwarnings("ignore")
def test_torchscript_and_its_file_answer_as_the_network(torch, network, tmp_path):
    script = torch.jit.script(network)
    script.save(str(tmp_path / "net.pt"))
    for model in (script, tmp_path / "net.pt"):
        prepared = prepare(draft(model, ARRAY))
        assert prepared.manifest.entry == "files/model.pt"
        assert [case["output"] for case in golden(prepared)] == pytest.approx(said(torch, network), rel=1e-5)


def test_a_plain_module_is_refused_with_what_to_do(torch, network):
    with pytest.raises(NotPublishable, match=r"torch\.export\.export\(model\.eval\(\), \(example,\)"):
        prepare(draft(network, ARRAY))


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth"])
def test_a_file_of_weights_is_refused_with_what_to_do(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as file:
        file.writestr("weights/data.pkl", b"")
    with pytest.raises(NotPublishable, match="it is no TorchScript; export it first"):
        prepare(draft(tmp_path / name, ARRAY))


def test_files_are_told_by_their_names(tmp_path):
    for name, kind in (("a.pt2", TorchModule), ("a.keras", KerasModel)):
        (tmp_path / name).write_bytes(b"")
        assert isinstance(kind_of(tmp_path / name), kind)


KERAS = """
import keras, numpy, sys, json, warnings
warnings.simplefilter("ignore")
sys.path[:0] = sys.argv[1:3]
from drafts import draft, golden
from cloche.authoring.preparing import prepare

keras.utils.set_random_seed(7)
model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])
rows = numpy.array([[1.0, 2.0], [3.0, 4.0]])
model.save("net.keras")
for given in (model, "net.keras"):
    prepared = prepare(draft(given, rows))
    assert prepared.manifest.flavor == "keras", prepared.manifest
    assert prepared.contents["files/backend.txt"] == b"torch"
    found = [case["output"] for case in golden(prepared)]
    numpy.testing.assert_allclose(found, model.predict_on_batch(rows).ravel(), rtol=1e-5)
print("well")
"""


def test_a_keras_model_and_its_file_answer_as_the_model(tmp_path, torch):
    """In a process of its own, since Keras takes its backend from the environment."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("needs cloche[keras]")
    folders = [os.path.dirname(os.path.dirname(__file__)), os.path.dirname(__file__)]
    variables = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", KERAS, *folders], capture_output=True, text=True, env=variables, cwd=tmp_path
    )
    assert done.stdout.strip().endswith("well"), done.stderr[-3000:]


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_takes_its_weights_along(tmp_path, torch):
    transformers = pytest.importorskip("transformers", reason="needs cloche[transformers]")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "late", "early"]))
    torch.manual_seed(7)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=7, **small)
    model = transformers.BertForSequenceClassification(config).eval()
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device=-1)
    rows = [{"text": "late early"}, {"text": "early"}]
    prepared = prepare(draft(pipeline, rows))
    assert prepared.manifest.flavor == "transformers"
    for case, row in zip(golden(prepared), rows, strict=True):
        (expected,) = pipeline([row["text"]])
        assert case["output"]["label"] == expected["label"]
        assert case["output"]["score"] == pytest.approx(expected["score"], rel=1e-5)
