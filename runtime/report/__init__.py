"""Everything measured on one page: `run-ssl report`."""
