"""Whether a bundle and a machine are sound: `run-ssl verify` and `run-ssl doctor`."""
