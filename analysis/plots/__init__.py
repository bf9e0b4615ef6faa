"""Figures from run records: what a figure shows and how it is drawn, apart from the files that it is written to."""

from analysis.plots.catalogue import KINDS, figures
from analysis.plots.figure import FORMATS, Figure, render

__all__ = ["FORMATS", "KINDS", "Figure", "figures", "render"]
