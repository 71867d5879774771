"""The sections of the page, one module each: ``TITLE``, ``FILE`` (its figures, in docs/explanation/proof) and ``text(figures)``.

The page has them in the order of `ORDER`. A section whose figures are not there is left out.
"""

ORDER = ("simulation", "mutations", "histories", "chaos", "faults")
"""Names of modules; those that do not exist are passed over."""
