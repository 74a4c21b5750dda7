"""Test and demo media: composed or generated clips, their truth beside them. No binary is committed."""
