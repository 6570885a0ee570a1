"""Names of the tasks."""

_TASKS: dict[str, type] = {}


def register(name):
    """Class decorator: make a `Task` known as `name`."""

    def add(task):
        if name in _TASKS:
            raise ValueError(f"task {name!r} is registered twice")
        task.name = name
        _TASKS[name] = task
        return task

    return add


def names():
    return sorted(_TASKS)


def get(name):
    """The class registered as `name`; ValueError lists the known names."""
    if name not in _TASKS:
        raise ValueError(f"task {name}: there is none; known are {', '.join(names())}")
    return _TASKS[name]


def build(name, **options):
    """The task `name`. options: as of `Task`, and `files` for a `Published`."""
    return get(name)(**options)
