"""What other processes do while a gallery is copied."""

import hashlib
import resource
import time

from visavis.gallery import NewTemplate, RestoreConfig, restore
from visavis.gallery.secrets.protection import Keys
from visavis.gallery.transfer import contents

from .given import ENCODER, opened, some_vector
from .others import outcome

KEY = bytes(range(32))


def portrait(seed):
    """A template whose photograph is kept, and is the one that its digest names."""
    picture = f"a photograph of {seed}".encode() * 50
    return NewTemplate(some_vector(seed), hashlib.sha256(picture).hexdigest(), picture)


def write_until(where, stop, number):
    """Enrol, rename, remove until a file appears; give how many times."""
    count = 0
    with opened(where, keys=KEY) as gallery:
        while not stop.exists():
            name = f"visitor {number}-{count}"
            gallery.enroll(name, [portrait(name), portrait(f"{name} again")], encoder=ENCODER)
            if count % 3 == 0:
                gallery.rename(name, f"guest {number}-{count}")
            if count % 3 == 1:
                gallery.remove(name)
            count += 1
    return count


def migrate_in_portions(where, to, started, size):
    """Migrate so few rows at a time that there is time to be killed."""
    contents.PORTION = size

    def told(done, total):
        if 2 * done > 0.3 * total:
            started.touch()

    with opened(where, keys=KEY) as gallery:
        return str(gallery.migrate(to, told=told).way)


def back_up_in_portions(where, file, started, size):
    contents.PORTION = size

    def told(done, total):
        if 2 * done > 0.3 * total:
            started.touch()

    with opened(where, keys=KEY) as gallery:
        gallery.backup(file, told=told)


def restore_in_portions(file, where, started, size):
    """Stay before the end of it, where a commit cannot be."""
    contents.PORTION = size

    def told(done, total):
        if 2 * done > 0.3 * total:
            started.touch()
            time.sleep(0.05)

    restore(file, where, RestoreConfig(Keys.of(KEY), force=True), told)


def copy_to_a_full_disk(how, where, to, limit):
    """Copy where files may not grow further; give the code of the refusal."""
    limits = (limit, limit)
    if how == "restore":
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return outcome(lambda: restore(where, to, RestoreConfig(Keys.of(KEY), force=True)))
    with opened(where, keys=KEY) as gallery:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return outcome(lambda: getattr(gallery, how)(to))


def files_of(folder):
    return sorted(e.name for e in folder.iterdir() if not e.name.endswith("-searcher"))
