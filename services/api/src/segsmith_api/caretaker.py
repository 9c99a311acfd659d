"""`python -m segsmith_api.caretaker`: rescues silent jobs and rings for waiting ones."""

from segsmith_shared.jobs.caretaker import serve

if __name__ == "__main__":
    serve()
