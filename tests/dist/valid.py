"""Checks lists of what is linked in against CycloneDX's own schema. Usage: valid.py FILE..."""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for name in sys.argv[1:]:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(name).read_text())
    if error:
        sys.exit(f"dist: {name} is no CycloneDX: {error}")
