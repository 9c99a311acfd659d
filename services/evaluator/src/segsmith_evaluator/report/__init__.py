"""One page per pipeline that a person can judge the run by: gather, then draw, then write."""
