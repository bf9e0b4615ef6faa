"""Figures from run records: what a figure shows and how it is drawn, apart from the files that it is written to."""

from analysis.plots.catalogue import KINDS, built, figures, groups, named
from analysis.plots.figure import FORMATS, Figure, Group, render

__all__ = ["FORMATS", "KINDS", "Figure", "Group", "built", "figures", "groups", "named", "render"]
