"""Solves the assignment problem exactly, for a few subjects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign(costs: NDArray[np.floating]) -> list[tuple[int, int]]:
    """(row, column) pairs of a (n, m) cost table, min(n, m) of them in row order, with the lowest total cost.

    Shortest augmenting paths with potentials: rows are added one by one, and each takes columns from others if that
    lowers the total cost.
    """
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    num_rows, num_columns = costs.shape
    row_price, column_price = np.zeros(num_rows), np.zeros(num_columns)
    owner = np.full(num_columns, -1)
    for row in range(num_rows):
        least = np.full(num_columns, np.inf)
        came_from = np.full(num_columns, -1)
        done = np.zeros(num_columns, np.bool_)
        at_row, at_column = row, -1
        while True:
            # (m,) >= 0 for all free columns, 0 for matched pairs: c_ij - u_i - v_j
            reduced = costs[at_row] - row_price[at_row] - column_price
            better = ~done & (reduced < least)
            least[better], came_from[better] = reduced[better], at_column
            nearest = int(np.where(done, np.inf, least).argmin())
            step = float(least[nearest])
            # prices change so that the reduced costs of the tree stay 0 and the next column gets 0
            row_price[row] += step
            row_price[owner[done]] += step
            column_price[done] -= step
            least[~done] -= step
            done[nearest] = True
            at_column, at_row = nearest, int(owner[nearest])
            if at_row < 0:
                break
        while at_column >= 0:
            # back along the path: every column takes the row of the one before it
            before = int(came_from[at_column])
            owner[at_column] = row if before < 0 else owner[before]
            at_column = before
    return sorted((int(row), column) for column, row in enumerate(owner) if row >= 0)
