"""Training networks: recipes, the loop, export."""
