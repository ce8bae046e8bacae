"""LiveKit's realtime models through one scripted call and the faults of `benchmarks.livekit.scenarios`, side by side."""
