"""Recipes, training, evaluation and export. Needs the `train` extra."""
