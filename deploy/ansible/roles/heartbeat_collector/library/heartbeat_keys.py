#!/usr/bin/python
"""Writes the keys of all hosts in one task: a thousand copy tasks would need minutes."""

import grp
import os
import re

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: heartbeat_keys
short_description: Writes the directory of keys that a collector accepts
description:
  - The name of each file is the id of a key. It contains the secrets of the key, one per line.
  - Files are replaced atomically, so the collector never reads an incomplete one.
  - Other files in the directory are removed, which revokes their keys; a warning names them.
  - Nothing is written unless all keys are valid.
options:
  path: {description: The directory, required: true, type: path}
  group: {description: The group that may read the files, required: true, type: str}
  hosts: {description: How many hosts the keys are for, required: true, type: int}
  keys: {description: Lists of secrets by key id, required: true, type: dict}
author: telegraf-heartbeat developers
"""

RETURN = r"""
written: {description: Keys whose files were written, type: list}
added: {description: Written keys that have a new secret, type: list}
removed: {description: Files that were removed, type: list}
"""


MIN_SECRET = 16  # bytes, as wire.MinSecret


def problem(key, secrets):
    # Returns what is wrong with a key, or None. The text never contains a secret.
    if not re.fullmatch("[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,63}", key):
        return "%r is not the id of a key: use 1 to 64 letters, digits or any of _ . : -, and no dot at the beginning" % key
    if not isinstance(secrets, list) or not all(isinstance(secret, str) for secret in secrets):
        return "the secrets of %r are not a list of strings" % key
    for number, secret in enumerate(secrets, 1):
        if secret.splitlines() != [secret] or secret.strip() != secret or secret.startswith("#"):
            return "secret %d of %r is not a single line, has spaces around it, or begins with '#'" % (number, key)
        if len(secret.encode()) < MIN_SECRET:
            return "secret %d of %r has %d bytes: at least %d are needed" % (number, key, len(secret.encode()), MIN_SECRET)
    return None


def files(path):
    return [entry.name for entry in os.scandir(path) if not entry.is_dir(follow_symlinks=False)]


def current(path):
    try:
        with open(path) as file:
            return file.read(), os.stat(path)
    except FileNotFoundError:
        return None, None


def is_as_wanted(path, text, gid):
    content, stat = current(path)
    return content == text and stat.st_mode & 0o7777 == 0o640 and (stat.st_uid, stat.st_gid) == (0, gid)


def adds(path, text):
    content, _ = current(path)
    return not set(text.splitlines()) <= set((content or "").splitlines())


def write(path, text, gid):
    # The name begins with "." until the file is complete: the collector skips such files.
    # Ansible's atomic_move would let everybody read a new file.
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
            "hosts": {"type": "int", "required": True},
            "keys": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    names = {}
    for key, secrets in sorted(module.params["keys"].items()):
        twin = names.setdefault(key.rstrip(".").lower(), key)
        if twin != key:
            module.fail_json(msg="%r and %r are the same name: case and a final dot are ignored" % (twin, key))
        wrong = problem(key, secrets)
        if wrong:
            module.fail_json(msg=wrong)
    if len(names) != module.params["hosts"]:
        module.fail_json(msg="%d hosts have %d names: give each host its own heartbeat_host" % (module.params["hosts"], len(names)))
    wanted = {key: "".join(secret + "\n" for secret in secrets) for key, secrets in module.params["keys"].items() if secrets}
    try:
        gid = grp.getgrnam(module.params["group"]).gr_gid
        present = files(path)
    except (KeyError, FileNotFoundError) as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        gid, present = -1, []  # a dry run before the first installation
    written = sorted(key for key, text in wanted.items() if not is_as_wanted(os.path.join(path, key), text, gid))
    removed = sorted(name for name in present if name not in wanted)
    revoked = [name for name in removed if not name.startswith(".")]
    if revoked:
        module.warn("No longer in the inventory, so their keys are removed, and their beats refused: %s" % ", ".join(revoked))
    added = [key for key in written if adds(os.path.join(path, key), wanted[key])]
    if not module.check_mode:
        for key in written:
            write(os.path.join(path, key), wanted[key], gid)
        for name in removed:
            os.remove(os.path.join(path, name))
    module.exit_json(changed=bool(written or removed), written=written, added=added, removed=removed)


if __name__ == "__main__":
    main()
