"""Redrawing a part of a pair: regions, RePaint, sampling beside a clean background, and what is accepted."""
