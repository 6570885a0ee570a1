"""Names of the tasks."""

from nopos_plugin.discover import Registry

TASKS = Registry("task", "nopos-make-task")
register, names, get = TASKS.register, TASKS.names, TASKS.get


def build(name, **options):
    """The task `name`. options: as of `Task`, and `files` for a `Published`."""
    return get(name)(**options)
