"""CSV and TSV tables that name images and their labels."""
