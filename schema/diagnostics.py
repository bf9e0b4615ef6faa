"""What `diagnostics=...` measures, as it stands in a record; a number is null where it is not finite."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schema.part import Part

Number = float | None
Numbers = list[float | None]


class NotMeasured(Part):
    """A diagnostic that gave nothing."""

    status: Annotated[Literal["not applicable", "failed"], "`failed`: it ran into an error, which cost the run nothing"]
    reason: Annotated[str, "why"]
    seconds: Annotated[float, "spent"]
    traceback: Annotated[str | None, "of one that failed: a file in the run's folder"] = None


class Measured(Part):
    """What every diagnostic that was measured says of itself."""

    status: Annotated[Literal["measured"], ""]
    reason: Annotated[None, "null"] = None
    seconds: Annotated[float, "spent"]
    traceback: Annotated[None, "null"] = None
    version: Annotated[Literal[1], "of these definitions"]


class Ratios(Part):
    """Distances of two weight changes over the distances of the two points that give them."""

    n: Annotated[int, "pairs"]
    mean: Annotated[Number, ""]
    std: Annotated[Number, "of the sample"]
    min: Annotated[Number, ""]
    q05: Annotated[Number, "5 % quantile"]
    median: Annotated[Number, ""]
    q95: Annotated[Number, "95 % quantile"]
    max: Annotated[Number, ""]
    values: Annotated[Numbers, "all of them, sorted"]
    radius: Annotated[Number, "of the sphere that random pairs lie on; null for pairs of snapshots"] = None


class Pairs(Part):
    """The ratios by where the points lie."""

    random: Annotated[
        Ratios,
        "two independent points, uniform on the sphere around the start through the kept values (of radius 1 where "
        "training moved nothing); fewer than asked for where the map is large",
    ]
    trained: Annotated[Ratios, "all pairs of snapshots that differ"]


class PathPoint(Part):
    """A snapshot of training."""

    step: Annotated[int, "optimizer steps so far"]
    epoch: Annotated[float, "epochs so far"]
    distance: Annotated[Number, "from the start, in trained values"]
    weight_distance: Annotated[Number, "from the start, in weights"]


class JacobianPoint(Part):
    """The singular values of the map's Jacobian at one point."""

    point: Annotated[Literal["start", "training", "kept"], "`training`: the middle snapshot"]
    step: Annotated[int | None, "optimizer steps so far; null where the kept values are no snapshot's"]
    largest: Annotated[Number, "largest singular value"]
    smallest: Annotated[Number, "smallest; 0 where directions change nothing"]
    condition: Annotated[Number, "`largest` over `smallest`; null where that is infinite"]
    null_directions: Annotated[
        int | float | None,
        "dimension of the trained directions that change nothing to first order: whose singular value is below 1e-6 of "
        "their block's largest, which float64 cannot tell from 0 in JᵀJ",
    ]
    null_interval: Annotated[
        list[float] | None, "95 % interval where that dimension is an estimate; null where it is counted"
    ]
    smallest_nonzero: Annotated[Number, "smallest on the complement of those directions"]
    condition_complement: Annotated[Number, "condition on it"]
    method: Annotated[
        Literal["dense", "matrix-free", "mixed"],
        "`dense`: whole spectrum, by independent blocks; `matrix-free`: Golub-Kahan bidiagonalisation",
    ]
    residual: Annotated[Number, "largest residual of an extreme pair, relative to `largest`; 0 where dense"]


class Gram(Part):
    """How far PᵀP of a linear map is from the identity."""

    diagonal: Annotated[Number, "max abs(PᵀP[i,i] - 1)"]
    off_diagonal: Annotated[Number, "max abs(PᵀP[i,j])"]
    columns: Annotated[int, "over so many columns: all where no two overlap, else a sample"]


class Occupancy(Part):
    """The groups of a partition, read off the map itself; of Uni-LoRA the uses of its vector in A and B."""

    groups: Annotated[int, "how many"]
    weights: Annotated[int, "in all of them"]
    dead: Annotated[int, "empty groups"]
    min: Annotated[int, "smallest group"]
    mean: Annotated[Number, "mean size"]
    max: Annotated[int, "largest group"]
    std: Annotated[Number, "of sizes"]
    sizes: Annotated[list[int], "sizes that occur"]
    counts: Annotated[list[int], "how often each does"]


class LayerUpdate(Part):
    """The kept change of one matrix."""

    name: Annotated[str, "of the weight"]
    shape: Annotated[list[int], "of the weight"]
    frobenius: Annotated[Number, "Frobenius norm"]
    spectral: Annotated[Number, "spectral norm"]
    stable_rank: Annotated[Number, "squared Frobenius over squared spectral norm; null for no change"]
    singular_values: Annotated[Numbers, "the largest"]


class Update(Part):
    """The kept weight change."""

    norm: Annotated[Number, "of all of it"]
    layers: Annotated[list[LayerUpdate], "of each matrix"]


class TrainedValues(Part):
    """The kept trained values."""

    n: Annotated[int, "how many"]
    mean: Annotated[Number, ""]
    std: Annotated[Number, "of the sample"]
    min: Annotated[Number, ""]
    max: Annotated[Number, ""]
    outliers: Annotated[int, "beyond 3 `std` of the mean"]
    edges: Annotated[Numbers, "of a histogram"]
    counts: Annotated[list[int], "of a histogram"]


class Rounded(Part):
    """What arrives in the weights when weights, trained values and fixed state are in one type."""

    ratios: Annotated[
        Ratios,
        "on the same random pairs, over their exact distances, of W + ΔW summed in float32 and rounded to the type, as "
        "merging does, less W",
    ]
    gram: Annotated[Gram | None, "of a linear map's matrix with the entries rounded to the type"] = None


class Precision(Part):
    """The same by type."""

    float32: Annotated[Rounded, ""]
    bfloat16: Annotated[Rounded, ""]
    float16: Annotated[Rounded, ""]


class Dropout(Part):
    """The same in training, with the recipe's dropout."""

    probability: Annotated[float, "the recipe's"]
    ratios: Annotated[
        Ratios,
        "on the same random pairs, one draw of the mask for both points (GPart: of the entries of ΔW; others: of the "
        "layer's input, which is columns of ΔW), what is kept scaled up",
    ]


class Isometry(Measured):
    """How a method's map from trained values to weight changes treats distances."""

    map: Annotated[
        Literal["identity", "linear", "nonlinear"],
        "`identity`: the trained values are weights; tested on random points",
    ]
    parameters: Annotated[int, "dimension of the map's trained side, the head apart"]
    weights: Annotated[int, "dimension of its other side"]
    path: Annotated[list[PathPoint], "by snapshot"]
    ratios: Annotated[Pairs, "distance ratios"]
    jacobian: Annotated[list[JacobianPoint], "at the start, along training and at the kept epoch"]
    gram: Annotated[Gram | None, "PᵀP; null where the map is not linear"]
    occupancy: Annotated[Occupancy | None, "groups; null where the map is no partition"]
    update: Annotated[Update, "the kept weight change"]
    trained_values: Annotated[TrainedValues, "the kept trained values"]
    precision: Annotated[Precision, "in half and single precision"]
    dropout: Annotated[Dropout | None, "in training; null where nothing is dropped"]


class Surface(Part):
    """Losses on a plane."""

    alpha: Annotated[list[float], "positions along the first axis"]
    beta: Annotated[list[float], "positions along the second"]
    loss: Annotated[list[Numbers], "per `alpha` one per `beta`"]


class Curve(Part):
    """Losses on a line."""

    alpha: Annotated[list[float], "positions"]
    loss: Annotated[Numbers, "one per position"]


class Hessian(Part):
    """The Hessian in the trained values."""

    largest: Annotated[Numbers, "largest eigenvalues, the outermost first"]
    smallest: Annotated[Numbers, "smallest eigenvalues, the outermost first"]
    mean: Annotated[
        Number, "the trace over the dimension; beside the eigenvectors found Hutchinson's estimate, if not dense"
    ]
    mean_error: Annotated[Number, "its standard error; 0 where dense"]
    anisotropy: Annotated[Number, "largest absolute eigenvalue over `mean`; null where that is not positive"]
    condition: Annotated[Number, "largest over smallest absolute eigenvalue; null unless dense"]
    negative: Annotated[Number, "share of eigenvalues below -1e-6 of the largest absolute one; null unless dense"]
    residual: Annotated[Number, "largest norm of Hv - λv over the largest absolute eigenvalue; 0 where dense"]
    products: Annotated[int, "Hessian-vector products spent"]
    method: Annotated[
        Literal["dense", "matrix-free", "none"], "`none`: beyond 2^24 trained values, with empty lists and nulls"
    ]


class Landscape(Measured):
    """The training loss around the kept trained values, and its curvature."""

    rows: Annotated[int, "training examples"]
    loss: Annotated[Number, "at the kept values"]
    surface: Annotated[Surface, "along the first two directions"]
    curves: Annotated[list[Curve], "per direction"]
    path: Annotated[Curve, "on the line from the start (0) through the kept values (1)"]
    hessian: Annotated[Hessian, "at the kept values"]


class Encoding(Part):
    """What became of the examples of one split."""

    loss: Annotated[str, "where the loss is taken: `response` or `text`"]
    keep: Annotated[str, "which end of a longer example stays: `first` or `last`"]
    context: Annotated[int, "the most tokens of one example"]
    pairs: Annotated[int, "examples"]
    longer_than_context: Annotated[int, "examples that were cut"]
    longest: Annotated[int, "tokens of the longest, before it was cut"]
    left_out: Annotated[int, "examples without a token to learn"]
    split_at_prompt: Annotated[
        int, "examples tokenized in two parts, since a token would cross from prompt into response"
    ]
    tokens: Annotated[int, "of all examples"]
    learnt_tokens: Annotated[int, "those of them that the loss is taken of"]


class Generations(Part):
    """How the generations of a test split ended."""

    ended: Annotated[dict[str, int], "how many at `stop`, `eos`, `length` and for want of room (`no_room`)"]
    tokens: Annotated[int, "generated"]


class Diagnostics(Part):
    """What was measured beside the scores, and what was counted; null where it was not asked for."""

    @property
    def asked(self) -> list[str]:
        """The measures that were asked for, whatever came of them."""
        return [name for name in ("isometry", "landscape") if getattr(self, name) is not None]

    isometry: Annotated[
        Isometry | NotMeasured | None, Field(discriminator="status"), "how the method's map treats distances"
    ] = None
    landscape: Annotated[
        Landscape | NotMeasured | None, Field(discriminator="status"), "the training loss around the kept values"
    ] = None
    sequences: Annotated[
        dict[str, Encoding | Generations | int] | None,
        "of language models: `SPLIT`, `SPLIT_generation`, and as `SPLIT_without_answer` how many solutions state none",
    ] = None
