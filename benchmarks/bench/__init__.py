"""How true `run-ssl bench` is: against other timers, against the library's own call, and the gate of CI."""
