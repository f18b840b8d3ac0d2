"""Every built-in codec and network, registered through the same hooks as a stranger's."""
