"""Everything that improves numbers."""
