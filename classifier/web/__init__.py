"""What servers of a page on this machine share: the names they go by, the process, the files."""
