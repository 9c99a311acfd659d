"""What two or more services of segsmith need, and nothing else."""
