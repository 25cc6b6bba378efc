"""The field's words: errors, tables, limits, content ids, files, progress, provenance."""
