"""What the project needs beside the package: starting, teaching, measuring."""
