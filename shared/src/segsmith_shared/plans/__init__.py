"""What is known before anything runs, in pure Python: presets, job specs, jump schedules, costs."""
