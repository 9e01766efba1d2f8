"""PageRank as a vertex program: gather, apply, scatter, on the graph of who links to whom.

A vertex sees only its neighbours. In a round each gathers what its neighbours have sent, applies a rule to that, and
scatters its own value over its edges; a vertex whose value hardly changes goes to sleep. The engine is a sparse matrix:
to gather is to multiply. Graphs grow by preferential attachment, as links on the web do.

From: Low and others, GraphLab, 2010; Malewicz and others, Pregel, 2010. GraphLab ended as Turi Create, which needs
Python 3.6; what is maintained is scipy's and igraph's sparse matrices here, and GraphFrames on Spark.
Look at: `awake` falling to nothing while `moved` falls: the work that is left is in few vertices.
Checked: the ranks equal the solution of the linear system that defines PageRank; they sum to one.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from stage import Show, play

DAMPING = 0.85
STILL = 1e-12
"""A vertex that changes less than this goes to sleep until a neighbour changes."""


@dataclass(frozen=True)
class VertexProgram:
    """What a vertex does in a round. Values are arrays over the vertices that are awake."""

    scatter: Callable[[Any], Any]
    """What each vertex sends along each of its edges."""
    apply: Callable[[Any], Any]
    """The new value from the sum of what was sent."""


def main(show: Show) -> str:
    n = show.sizes["vertices"]
    edges = grown(n, np.random.default_rng(11))
    degrees = np.asarray(edges.sum(axis=1)).ravel()
    program = VertexProgram(lambda values: values / degrees, lambda gathered: (1 - DAMPING) / n + DAMPING * gathered)
    with show.run("pagerank", {"vertices": n, "edges": edges.nnz}) as run:
        rounds = 0
        values, awake = np.full(n, 1 / n), np.ones(n, dtype=bool)
        while awake.any():
            rounds += 1
            worked = int(awake.sum())
            values, awake, moved = advance(edges, program, values, awake)
            run.log(step=rounds, awake=worked, moved=moved, largest=values.max())
    show.expect(run, metrics=rounds)

    link = sparse.diags(1 / degrees) @ edges
    exact = spsolve(sparse.eye(n, format="csc") - DAMPING * link.T.tocsc(), np.full(n, (1 - DAMPING) / n))
    error = float(np.abs(values - exact).max())
    show.check(error < 1e-9, f"ranks differ from the exact solution by {error:.1e}")
    show.check(abs(values.sum() - 1) < 1e-6, f"ranks sum to {values.sum()}")
    return f"{n:,} vertices, {edges.nnz:,} edges: all asleep after {rounds} rounds, {error:.0e} from the exact solution"


def advance(edges: Any, program: VertexProgram, values: Any, awake: Any) -> tuple[Any, Any, float]:
    """One round of the vertices that are awake: new values, who is awake next, how far all moved."""
    gathered = edges.T[awake] @ program.scatter(values)
    changed = values.copy()
    changed[awake] = program.apply(gathered)
    moved = np.abs(changed - values)
    # Who changed wakes the vertices that it sends to.
    return changed, np.asarray((edges.T @ (moved > STILL)) > 0).ravel(), float(moved.sum())


def grown(n: int, rng: np.random.Generator) -> Any:
    """A directed graph in which who is linked to gets more links; every vertex has a way out."""
    sources, targets = [0, 1, 2], [1, 2, 0]
    for vertex in range(3, n):
        chosen = {targets[place] for place in rng.integers(len(targets), size=3)} | {int(rng.integers(vertex))}
        sources += [vertex] * len(chosen)
        targets += sorted(chosen)
    ones = np.ones(len(sources))
    back = rng.integers(3, n, size=n // 5)  # some link to younger ones, or no rank would flow there
    rows, columns = np.append(sources, rng.integers(n, size=len(back))), np.append(targets, back)
    edges = sparse.csr_matrix((np.append(ones, np.ones(len(back))), (rows, columns)), shape=(n, n))
    edges.data[:] = 1.0
    return edges


if __name__ == "__main__":
    play(main, ("scipy",), vertices=(20_000, 2_000))
