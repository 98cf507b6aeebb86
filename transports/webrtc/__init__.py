"""The browser's line over WebRTC."""
