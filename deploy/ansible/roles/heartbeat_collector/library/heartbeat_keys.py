#!/usr/bin/python
"""One task for the keys of all hosts: a thousand copies would take minutes."""

import grp
import os

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: heartbeat_keys
short_description: Writes the directory of keys that a collector accepts
description:
  - Each file is named by the id of a key and holds its secrets, one a line.
  - Files are replaced whole, so the collector never reads half of one.
  - What is in the directory beside them is removed, and so revoked.
options:
  path: {description: The directory, required: true, type: path}
  group: {description: Who may read the files, required: true, type: str}
  keys: {description: Lists of secrets by key id, required: true, type: dict}
author: telegraf-heartbeat developers
"""

RETURN = r"""
written: {description: Keys whose files were written, type: list}
added: {description: Those of them that have a secret they did not have, type: list}
removed: {description: What was removed, type: list}
"""


def current(path):
    try:
        with open(path) as file:
            return file.read(), os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None, None


def is_as_wanted(path, text, gid):
    content, stat = current(path)
    return content == text and stat.st_mode & 0o7777 == 0o640 and (stat.st_uid, stat.st_gid) == (0, gid)


def adds(path, text):
    content, _ = current(path)
    return not set(text.splitlines()) <= set((content or "").splitlines())


def write(path, text, gid):
    # The name begins with "." until it is complete: the collector skips it. Not by
    # atomic_move, which lets everybody read a file that is new.
    directory, name = os.path.split(path)
    unfinished = os.path.join(directory, "." + name)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chown(unfinished, 0, gid)
    os.chmod(unfinished, 0o640)
    os.replace(unfinished, path)


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "group": {"type": "str", "required": True},
            "keys": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    wanted = {key: "".join(secret + "\n" for secret in secrets) for key, secrets in module.params["keys"].items() if secrets}
    for key in wanted:
        if key.startswith(".") or "/" in key:
            module.fail_json(msg="%r is not the id of a key" % key)
    try:
        gid = grp.getgrnam(module.params["group"]).gr_gid
        present = os.listdir(path)
    except (KeyError, FileNotFoundError) as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        gid, present = -1, []  # a dry run before anything is installed
    written = sorted(key for key, text in wanted.items() if not is_as_wanted(os.path.join(path, key), text, gid))
    removed = sorted(name for name in present if name not in wanted)
    added = [key for key in written if adds(os.path.join(path, key), wanted[key])]
    if not module.check_mode:
        for key in written:
            write(os.path.join(path, key), wanted[key], gid)
        for name in removed:
            os.remove(os.path.join(path, name))
    module.exit_json(changed=bool(written or removed), written=written, added=added, removed=removed)


if __name__ == "__main__":
    main()
