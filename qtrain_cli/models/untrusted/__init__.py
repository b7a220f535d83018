"""What keeps a stranger's model file from running code or filling the memory: README.md in this folder."""
