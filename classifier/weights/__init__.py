"""Pretrained weights on their way from where they are published into models/pretrained."""
