"""Industrial frame cameras that speak GenICam (GigE Vision, USB3 Vision), first of all FLIR's Blackfly S."""
