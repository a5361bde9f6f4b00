"""QKFormer and Max-Former, whose stages grow wider and coarser: their sizes, modules and facts."""
