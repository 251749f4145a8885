"""What tracker.js sends."""
