"""Test and demo media: composed or generated clips with their truth beside them. Nothing here is committed as a binary."""
