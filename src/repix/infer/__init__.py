"""Running a trained network on pictures of any size, without torch."""
