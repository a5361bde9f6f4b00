"""The loop that search and finalize share: schedules, seeded randomness, state, resume, devices."""
