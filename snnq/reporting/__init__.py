"""A packed folder as numbers, tables, figures and one HTML page."""
