"""LiveKit Agents' realtime models that survive their connections."""
