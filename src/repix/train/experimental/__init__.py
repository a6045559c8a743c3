"""What serves experiments and not the shipped recipes; it may change without notice."""
