"""Words behind a number: those that multiply it, those that make another value of it, and units."""

from __future__ import annotations

SCALES = {
    "dozen": "*12",
    "hundred": "*10^{2}",
    "thousand": "*10^{3}",
    "lakh": "*10^{5}",
    "million": "*10^{6}",
    "crore": "*10^{7}",
    "billion": "*10^{9}",
    "trillion": "*10^{12}",
}
"""What a word multiplies the number before it by."""

SCALE = rf"(?:{'|'.join(SCALES)})s?"

GREEK = {
    "alpha": "\u03b1",
    "beta": "\u03b2",
    "gamma": "\u03b3",
    "delta": "\u03b4",
    "epsilon": "\u03b5",
    "zeta": "\u03b6",
    "eta": "\u03b7",
    "theta": "\u03b8",
    "iota": "\u03b9",
    "kappa": "\u03ba",
    "lambda": "\u03bb",
    "mu": "\u03bc",
    "nu": "\u03bd",
    "xi": "\u03be",
    "rho": "\u03c1",
    "sigma": "\u03c3",
    "tau": "\u03c4",
    "upsilon": "\u03c5",
    "phi": "\u03c6",
    "chi": "\u03c7",
    "psi": "\u03c8",
    "omega": "\u03c9",
}
"""The letters that are variables, by their names in LaTeX; pi is a number."""

_FUNCTIONS = "pi|sqrt|sin|cos|ln|exp"  # no word that may be a unit, as sec
_FRACTIONS = "half|halves|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|millionth)s?|tens"

_POWERS = "squared|cubed|factorial|raised to|to the power"
_SHORT_SCALES = "mil|mn|bn|tn"

CHANGES_VALUE = rf"(?:{'|'.join(GREEK)}|{_FUNCTIONS}|{_FRACTIONS}|{_POWERS}|{_SHORT_SCALES})"
"""A word that makes another value of a number, and is no unit of it."""

MEASURE = (
    "(?:hours?|hrs?|h|minutes?|mins?|days?|weeks?|months?|years?|feet|foot|ft|yards?|m|km|met(?:er|re)s?"
    "|kg|pounds?|lbs?|dollars?)"
)
"""A unit that may go on in a smaller one: 3 hours 30 minutes."""
