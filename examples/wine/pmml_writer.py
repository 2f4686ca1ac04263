"""Writes the scikit-learn models of this example as PMML 4.4.

Small on purpose: decision tree, random forest, linear regression, and a scaled multi-layer
perceptron; numeric features only. What it writes answers what scikit-learn answers, for every
double: see `_double_threshold`.
"""

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

Label = str | int


class PmmlWriter:
    """Writes models of the same features and target.

    `features` are the names of the columns that the models were trained on, in their order.
    """

    def __init__(self, features: Sequence[str], target: str) -> None:
        self._features = features
        self._target = target

    def tree(self, model: DecisionTreeClassifier) -> bytes:
        """Return a classification tree as a TreeModel with the training counts in its leaves."""
        document = self._document(model.classes_)
        self._tree(document, model, model.classes_)
        return _bytes(document)

    def forest(self, model: RandomForestClassifier) -> bytes:
        """Return a classification forest as a MiningModel that averages its trees' probabilities."""
        document = self._document(model.classes_)
        mining = self._model(document, "MiningModel", "classification")
        segmentation = SubElement(mining, "Segmentation", multipleModelMethod="average")
        for number, tree in enumerate(model.estimators_, start=1):
            segment = SubElement(segmentation, "Segment", id=str(number))
            SubElement(segment, "True")
            self._tree(segment, tree, model.classes_)
        return _bytes(document)

    def linear(self, model: LinearRegression) -> bytes:
        """Return a linear regression as a RegressionModel."""
        document = self._document(None)
        regression = self._model(document, "RegressionModel", "regression")
        table = SubElement(regression, "RegressionTable", intercept=_number(model.intercept_))
        for name, coefficient in zip(self._features, model.coef_, strict=True):
            SubElement(table, "NumericPredictor", name=name, coefficient=_number(coefficient))
        return _bytes(document)

    def mlp(self, scaler: StandardScaler, model: MLPClassifier) -> bytes:
        """Return a scaled MLP of three classes or more, with ReLU, as a NeuralNetwork."""
        document = self._document(model.classes_)
        network = self._model(
            document, "NeuralNetwork", "classification", activationFunction="rectifier"
        )
        names = self._neural_inputs(network, scaler)
        for number, (weights, biases) in enumerate(
            zip(model.coefs_, model.intercepts_, strict=True), start=1
        ):
            layer = SubElement(network, "NeuralLayer")
            if number == len(model.coefs_):
                layer.attrib |= {"activationFunction": "identity", "normalizationMethod": "softmax"}
            names = _neurons(layer, number, weights, biases, names)
        outputs = SubElement(network, "NeuralOutputs", numberOfOutputs=str(len(names)))
        for name, label in zip(names, model.classes_, strict=True):
            output = SubElement(outputs, "NeuralOutput", outputNeuron=name)
            derived = SubElement(output, "DerivedField", optype="categorical", dataType="string")
            SubElement(derived, "NormDiscrete", field=self._target, value=str(label))
        return _bytes(document)

    def _document(self, classes: Sequence[Label] | None) -> Element:
        document = Element("PMML", version="4.4", xmlns="http://www.dmg.org/PMML-4_4")
        SubElement(SubElement(document, "Header"), "Application", name="Repertory wine example")
        dictionary = SubElement(document, "DataDictionary")
        for name in self._features:
            SubElement(dictionary, "DataField", name=name, optype="continuous", dataType="double")
        target = SubElement(dictionary, "DataField", name=self._target)
        if classes is None:
            target.attrib |= {"optype": "continuous", "dataType": "double"}
        else:
            target.attrib |= {"optype": "categorical", "dataType": "string"}
            for label in classes:
                SubElement(target, "Value", value=str(label))
        return document

    def _model(self, parent: Element, kind: str, function: str, **attributes: str) -> Element:
        model = SubElement(parent, kind, functionName=function, **attributes)
        schema = SubElement(model, "MiningSchema")
        for name in self._features:
            SubElement(schema, "MiningField", name=name)
        SubElement(schema, "MiningField", name=self._target, usageType="target")
        return model

    def _tree(
        self, parent: Element, model: DecisionTreeClassifier, classes: Sequence[Label]
    ) -> None:
        element = self._model(
            parent, "TreeModel", "classification", splitCharacteristic="binarySplit"
        )
        root = SubElement(element, "Node")
        SubElement(root, "True")
        self._node(root, model, classes, 0)

    def _node(
        self, node: Element, model: DecisionTreeClassifier, classes: Sequence[Label], index: int
    ) -> None:
        tree = model.tree_
        if tree.children_left[index] == tree.children_right[index]:  # a leaf
            counts = np.rint(tree.value[index, 0] * tree.weighted_n_node_samples[index])
            node.set("score", str(classes[counts.argmax()]))
            for label, count in zip(classes, counts, strict=True):
                SubElement(node, "ScoreDistribution", value=str(label), recordCount=_number(count))
            return
        field = self._features[tree.feature[index]]
        threshold = _number(_double_threshold(tree.threshold[index]))
        for operator, child in (
            ("lessOrEqual", tree.children_left[index]),
            ("greaterThan", tree.children_right[index]),
        ):
            branch = SubElement(node, "Node")
            SubElement(branch, "SimplePredicate", field=field, operator=operator, value=threshold)
            self._node(branch, model, classes, child)

    def _neural_inputs(self, network: Element, scaler: StandardScaler) -> list[str]:
        inputs = SubElement(network, "NeuralInputs", numberOfInputs=str(len(self._features)))
        names = []
        for feature, mean, scale in zip(self._features, scaler.mean_, scaler.scale_, strict=True):
            names.append(f"0,{len(names)}")
            neuron = SubElement(inputs, "NeuralInput", id=names[-1])
            derived = SubElement(neuron, "DerivedField", optype="continuous", dataType="double")
            norm = SubElement(derived, "NormContinuous", field=feature)
            SubElement(norm, "LinearNorm", orig=_number(mean), norm="0")
            SubElement(norm, "LinearNorm", orig=_number(mean + scale), norm="1")
        return names


def _neurons(
    layer: Element, number: int, weights: np.ndarray, biases: np.ndarray, sources: Sequence[str]
) -> list[str]:
    names = []
    for column, bias in zip(weights.T, biases, strict=True):
        names.append(f"{number},{len(names)}")
        neuron = SubElement(layer, "Neuron", id=names[-1], bias=_number(bias))
        for source, weight in zip(sources, column, strict=True):
            # `from` is a word of Python, so it cannot be a keyword argument.
            SubElement(neuron, "Con", {"from": source, "weight": _number(weight)})
    return names


def _double_threshold(threshold: float) -> float:
    """Return the double `t` with `x <= t` exactly where scikit-learn has `float32(x) <= threshold`.

    scikit-learn's trees round their input to float32 and compare with a double. `t` is the largest
    double that rounds to a float32 which is not above the threshold.
    """
    below = np.float32(threshold)
    if float(below) > threshold:  # not as float32, to which numpy would round a Python float
        below = np.nextafter(below, np.float32(-np.inf))
    above = np.nextafter(below, np.float32(np.inf))
    middle = (float(below) + float(above)) / 2
    return middle if np.float32(middle) == below else math.nextafter(middle, -math.inf)


def _number(value: float) -> str:
    """Return the shortest text that reads back as the same double."""
    return repr(float(value)).removesuffix(".0")


def _bytes(document: Element) -> bytes:
    indent(document, space="")
    return bytes(tostring(document, encoding="utf-8", xml_declaration=True))
