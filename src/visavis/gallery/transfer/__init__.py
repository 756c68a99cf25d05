"""A gallery taken elsewhere and brought back: backup, restore, migration, filling a searcher."""
