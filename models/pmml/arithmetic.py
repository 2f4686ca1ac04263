"""Small formulas on columns of doubles, NaN being "missing", as ONNX nodes."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

import numpy as np
from numpy.polynomial import chebyshev
from onnx import TensorProto

from repertory.models.pmml.graph import Graph


class Arithmetic(Graph):
    """A graph with the formulas that PMML's elements are made of.

    A truth is a column too: 1 true, 0 false, NaN unknown. A mask is a column of bool.
    """

    def plus(self, a: str, b: str) -> str:
        """A + b."""
        return self.op("Add", a, b)

    def minus(self, a: str, b: str) -> str:
        """A - b."""
        return self.op("Sub", a, b)

    def times(self, a: str, b: str) -> str:
        """A * b."""
        return self.op("Mul", a, b)

    def over(self, a: str, b: str) -> str:
        """A / b."""
        return self.op("Div", a, b)

    def exp(self, a: str) -> str:
        """E ** a."""
        return self.op("Exp", a)

    def negated(self, a: str) -> str:
        """-a."""
        return self.op("Neg", a)

    def is_missing(self, a: str) -> str:
        """The mask of where `a` is NaN."""
        return self.op("IsNaN", a)

    def where(self, mask: str, a: str, b: str) -> str:
        """`a` where the mask holds, `b` elsewhere."""
        return self.op("Where", mask, a, b)

    def double(self, mask: str) -> str:
        """A mask, or integers, as doubles."""
        return self.op("Cast", mask, to=TensorProto.DOUBLE)

    def float32(self, a: str) -> str:
        """`a` rounded to float32, still held as double."""
        return self.double(self.op("Cast", a, to=TensorProto.FLOAT))

    def either(self, masks: Iterable[str]) -> str:
        """The mask of where any of these holds."""
        return reduce(lambda a, b: self.op("Or", a, b), masks)

    def holds(self, truth: str) -> str:
        """The mask of where a truth is true."""
        return self.op("Equal", truth, self.number(1.0))

    def fails(self, truth: str) -> str:
        """The mask of where a truth is false."""
        return self.op("Equal", truth, self.number(0.0))

    def compare(self, operator: str, a: str, b: str) -> str:
        """The truth of an ONNX comparison, unknown where `a` or `b` is missing."""
        unknown = self.either([self.is_missing(a), self.is_missing(b)])
        return self.unless(unknown, self.double(self.op(operator, a, b)))

    def unless(self, unknown: str, a: str) -> str:
        """`a`, missing where the mask holds."""
        return self.where(unknown, self.number(math.nan), a)

    def all_of(self, truths: Sequence[str]) -> str:
        """Three-valued and."""
        known = reduce(self.times, truths)
        return self.where(self.either(map(self.fails, truths)), self.number(0.0), known)

    def any_of(self, truths: Sequence[str]) -> str:
        """Three-valued or."""
        none = reduce(self.plus, truths)  # 0, or NaN, where none of them is true
        return self.where(self.either(map(self.holds, truths)), self.number(1.0), none)

    def odd_of(self, truths: Sequence[str]) -> str:
        """Three-valued exclusive or: unknown as soon as one of them is."""
        return reduce(lambda a, b: self.op("Abs", self.minus(a, b)), truths)

    def first_known(self, columns: Sequence[str]) -> str:
        """The first of these that is not missing."""
        return reduce(lambda a, b: self.where(self.is_missing(a), b, a), columns)

    def complement(self, truth: str) -> str:
        """Three-valued not."""
        return self.minus(self.number(1.0), truth)

    def at_most(self, a: str, bound: str) -> str:
        """The lesser of the two, NaN where `a` is."""
        return self.where(self.op("Greater", a, bound), bound, a)

    def at_least(self, a: str, bound: str) -> str:
        """The greater of the two, NaN where `a` is."""
        return self.where(self.op("Less", a, bound), bound, a)

    def half_up(self, a: str) -> str:
        """`a` rounded to an integer, halves towards positive infinity."""
        floor = self.op("Floor", a)
        up = self.op("GreaterOrEqual", self.minus(a, floor), self.number(0.5))
        return self.where(up, self.plus(floor, self.number(1.0)), floor)

    def row_sum(self, matrix: str) -> str:
        """The sum of each row, [n, 1]."""
        return self.op("ReduceSum", matrix, self.integers([1]), keepdims=1)

    def first_maximum(self, matrix: str) -> str:
        """The index of each row's greatest value, the first of equals, NaN where one is missing."""
        index = self.double(self.op("ArgMax", matrix, axis=1, keepdims=1))
        return self.unless(self.is_missing(self.row_sum(matrix)), index)

    def look_up(self, table: Sequence[float] | Sequence[Sequence[float]], index: str) -> str:
        """The row of a constant table at each index (a double), missing where the index is.

        An index below 0 counts from the end, as in ONNX; `index` is [n, k] for a table of numbers,
        [n, 1] for a table of rows.
        """
        values = np.array(table, np.float64)
        padding = np.full((1, *values.shape[1:]), np.nan)
        held = self.constant(np.concatenate([values, padding]))
        at = self.where(self.is_missing(index), self.number(len(values)), index)
        at = self.op("Cast", at, to=TensorProto.INT64)
        if values.ndim == 2:
            at = self.op("Squeeze", at, self.integers([1]))
        return self.op("Gather", held, at, axis=0)

    def series(self, function: Callable[[float], float], a: str, degree: int) -> str:
        """A smooth function of `a` in [-1, 1], which ONNX Runtime lacks in float64.

        The Chebyshev interpolant of that degree, summed by Clenshaw's recurrence.
        """
        terms = chebyshev.chebinterpolate(np.vectorize(function), degree).tolist()
        twice = self.times(self.number(2.0), a)
        later, latest = self.number(0.0), self.number(terms[-1])
        for term in terms[-2:0:-1]:
            step = self.minus(self.times(twice, latest), later)
            later, latest = latest, self.plus(step, self.number(term))
        return self.plus(self.minus(self.times(a, latest), later), self.number(terms[0]))

    def arctan(self, a: str) -> str:
        """The arc tangent."""
        one = self.number(1.0)
        size = self.op("Abs", a)
        large = self.op("Greater", size, one)
        small = self.where(large, self.over(one, size), size)
        square = self.times(small, small)
        inner = self.minus(self.times(self.number(2.0), square), one)
        turn = self.times(small, self.series(_arctan_over_x, inner, 26))
        turn = self.where(large, self.minus(self.number(math.pi / 2), turn), turn)
        return self.times(self.op("Sign", a), turn)

    def normal_probability(self, a: str) -> str:
        """The standard normal distribution function, by its scaled complement: accurate in both tails."""
        size = self.over(self.op("Abs", a), self.number(math.sqrt(2.0)))
        three = self.number(_CENTRE)
        inner = self.over(self.minus(size, three), self.plus(size, three))
        scaled = self.series(_scaled_complement, inner, 40)
        tail = self.times(self.number(0.5), scaled)
        tail = self.times(tail, self.exp(self.negated(self.times(size, size))))
        below = self.op("Less", a, self.number(0.0))
        return self.where(below, tail, self.minus(self.number(1.0), tail))


# Maps [0, infinity) to [-1, 1) by (x - c) / (x + c), so that the interpolant converges fast.
_CENTRE = 3.0


def _arctan_over_x(inner: float) -> float:
    root = math.sqrt((inner + 1.0) / 2.0)
    return math.atan(root) / root if root > 1e-9 else 1.0


def _scaled_complement(inner: float) -> float:
    """exp(x²) erfc(x), where x is the preimage of `inner`."""
    x = _CENTRE * (1.0 + inner) / (1.0 - inner)
    if x < 20.0:
        return math.exp(x * x) * math.erfc(x)
    square = 2.0 * x * x  # the asymptotic series, exact to the last digit from here on
    return (1.0 - 1.0 / square + 3.0 / square**2 - 15.0 / square**3) / (x * math.sqrt(math.pi))
