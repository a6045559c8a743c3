"""Rain and other degradations drawn on clean images, and clean images that must stay."""
