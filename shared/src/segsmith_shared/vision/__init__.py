"""What reads pictures with torch, for two or more services."""
