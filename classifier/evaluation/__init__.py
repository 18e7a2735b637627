"""One pass over the data: tables, heat maps, embeddings, label errors."""
