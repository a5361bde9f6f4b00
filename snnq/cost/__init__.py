"""Storage and energy of a layer under a number format. Pure functions of a layer, a scheme's name and a cost table."""
