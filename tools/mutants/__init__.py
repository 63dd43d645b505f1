"""Does a test fail for each wrong line? Changes the core in many small ways and runs its tests."""
