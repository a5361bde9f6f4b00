"""A finished model becomes a verified packed folder with a report.json."""
