"""A page on this machine on which people look at single images and correct their labels."""
