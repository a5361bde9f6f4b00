"""Data: event recordings, frame files, images made into events; opened by a spec such as ``n-mnist:DIR``."""

from snnq.data.cache import cache_root, summary
from snnq.data.dataset import CLASS_COLUMNS, DataSet, Frames
from snnq.data.open import Prepared, download, open_data, prepare
from snnq.data.sources import OPTIONS, SOURCES, DataSource
from snnq.data.spec import DataSpec, parse_spec

__all__ = [
    "CLASS_COLUMNS",
    "OPTIONS",
    "SOURCES",
    "DataSet",
    "DataSource",
    "DataSpec",
    "Frames",
    "Prepared",
    "cache_root",
    "download",
    "open_data",
    "parse_spec",
    "prepare",
    "summary",
]
