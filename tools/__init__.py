"""What the project needs beside the package: starting, teaching, measuring."""

import sys

# nbformat takes jsonschema, which would build a grammar of international addresses here: ten times
# as long as all else that nbformat imports. No notebook holds one; without it jsonschema goes on.
sys.modules.setdefault("rfc3987_syntax", None)
