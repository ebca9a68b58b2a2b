"""What a row looks like: models from YAML or Python, their tables, mapped classes and DTOs."""
