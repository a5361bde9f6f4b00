"""Numbers → SVG text. Pure functions: no page, no script, nothing loaded.

Every figure says in a ``<title>`` what it shows, names its parts in words beside their colour, and takes the colour of
its text from the page (``currentColor``), so that it can be read in light and dark, on paper and without colours.
Power-of-two formats are hatched everywhere; the page holds the hatch (``svg.HATCH``) once.
"""
