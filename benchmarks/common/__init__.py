"""What several benchmarks share: the manifest of their images, and scores of temperature and in time."""
