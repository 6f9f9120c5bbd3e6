"""Where cubes come from: readers that return the cube contract, lazily."""
