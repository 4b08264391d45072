"""A simulated Blackfly S on the wire: a GigE Vision camera on the loopback interface."""
