"""INT8: what is refused, and what stays as it was."""
import onnx
import pytest
from emotion_detection.config import QuantizationSection, load_config
from emotion_detection.files import InputError
from emotion_detection.int8_graph import read_graph, weight_nodes
from emotion_detection.data import load_phases
from emotion_detection.quantization import calibration_ids, prepare_graph, quantize_int8
from emotion_detection.runtime import find_onnx


@pytest.fixture(scope='module')
def data(): return load_phases(load_config('quickstart'))


@pytest.mark.parametrize('folder, words', [
    ('final_model', 'model.onnx is missing'),
    ('int8', 'has no FP32 weights to quantize'),
])
def test_only_an_fp32_model_is_quantized(outputs, data, tmp_path, folder, words):
    with pytest.raises(InputError, match=words):
        quantize_int8(outputs/folder, tmp_path/'new', data)
    assert not list(tmp_path.iterdir())


def test_without_texts_there_is_no_gate(outputs, tmp_path):
    with pytest.raises(InputError, match='takes labeled texts'):
        quantize_int8(outputs/'onnx', tmp_path/'new', ())
    assert not list(tmp_path.iterdir())


def test_without_calibration_the_graph_stays(outputs):
    "`calibration_texts: 0` is plain INT8: nothing is smoothed, nothing is rounded beforehand."
    graph = read_graph(find_onnx(outputs/'onnx'))
    untouched = onnx.ModelProto()
    untouched.CopyFrom(graph)
    assert prepare_graph(graph, weight_nodes(graph), [], QuantizationSection()) == ({}, {})
    assert graph == untouched


def test_calibration_texts_are_training_texts(outputs, data):
    "So many of each data set, the first and the last among them; never more than there are."
    whole = calibration_ids(outputs/'onnx', data, 10_000)
    english, vietnamese = (len(part.train) for part in data)
    assert len(whole) == english + vietnamese
    some = calibration_ids(outputs/'onnx', data, 10)
    assert len(some) == 20
    assert some[0] == whole[0]
    assert some[9] == whole[english - 1]
    assert some[10] == whole[english]
    assert some[19] == whole[-1]
