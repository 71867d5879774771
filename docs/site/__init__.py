"""Builds the documentation site: ``python -m docs.site [FOLDER]`` (``make docs``).

`build` writes every page into a folder of its own and runs Zensical on it; `pages` adapts links and draws diagrams;
`generated` writes the pages that come from the code. Nothing here is part of the product.
"""
