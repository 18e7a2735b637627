"""Statistics on logits: scores, intervals, ranking, reliability."""
