"""What every room stands on: errors, files, strict JSON, validation, parsing, progress, the machine, the version."""
