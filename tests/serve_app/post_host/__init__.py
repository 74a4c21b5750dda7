"""A post host on this machine: its server, and the extractor plugin through which yt-dlp understands it."""
