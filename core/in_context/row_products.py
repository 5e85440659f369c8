"""Products of vectors with a table, whose bits do not depend on the other vectors of a batch."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def row_products(rows: FloatArray, table: FloatArray) -> FloatArray:
    """Multiply (rows, D) by (D, columns) row by row: a product of many at once adds in another order."""
    products: FloatArray = np.matmul(rows[:, None, :], table)[:, 0]
    return products
