"""Any of LiveKit's realtime models under unbroken's supervision."""
