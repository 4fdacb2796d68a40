"""What git holds: every git call is made here, and none needs a checkout."""

import base64
import difflib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmops.errors import MachineryError, UserError


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A tree that can be read: a commit, or the working tree as it stands."""

    name: str
    """What the person typed, such as `main` or `HEAD`."""
    oid: str
    """The commit's, or the tree's, object name: 40 hexadecimal characters."""
    worktree: bool = False
    """Whether this is the working tree with its uncommitted changes."""

    @property
    def label(self) -> str:
        """How a report names it: `main (0a1b2c3)`."""
        if self.worktree:
            return f"{self.name} with uncommitted changes"
        return self.oid[:7] if self.oid.startswith(self.name) else f"{self.name} ({self.oid[:7]})"


def run(
    root: Path, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> bytes:
    """What `git ARGS` prints. Raises MachineryError with git's own words when it fails."""
    done = _call(root, *args, stdin=stdin, env=env)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise MachineryError(f"git {' '.join(args)} failed: {said}")
    return done.stdout


def toplevel(start: Path) -> Path:
    """The root of the checkout that `start` lies in.

    Raises UserError outside a git repository.
    """
    done = _call(start, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise UserError(
            f"{start} is not inside a git repository",
            fix="change into your clone of the repository and run the command again",
        )
    return Path(done.stdout.decode().strip())


def resolve(root: Path, name: str) -> Revision:
    """The commit that `name` means.

    Raises UserError when there is none, and says so when the clone is too shallow to know.
    """
    done = _call(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode == 0:
        return Revision(name=name, oid=done.stdout.decode().strip())
    if is_shallow(root):
        raise UserError(
            f"the revision {name!r} is not in this clone, which is shallow",
            fix="git fetch --unshallow (in a workflow: actions/checkout with fetch-depth: 2 or 0)",
        )
    raise UserError(
        f"the revision {name!r} does not exist",
        fix=f"git fetch origin, then try again; near names: {_near(root, name)}",
    )


def working_tree(root: Path) -> Revision:
    """The working tree as a git tree: HEAD where nothing is changed.

    Untracked files count as far as git does not ignore them. Neither the index nor any file is
    touched: the tree is written with an index of its own.
    """
    head = resolve(root, "HEAD")
    if not run(root, "status", "--porcelain", "--untracked-files=normal").strip():
        return head
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        run(root, "read-tree", "HEAD", env=index)
        run(root, "add", "--all", env=index)
        tree = run(root, "write-tree", env=index).decode().strip()
    return Revision(name="HEAD", oid=tree, worktree=True)


def merge_base(root: Path, one: Revision, other: Revision) -> Revision:
    """The newest commit that both have. Raises UserError when their histories do not meet."""
    other_commit = "HEAD" if other.worktree else other.oid
    done = _call(root, "merge-base", one.oid, other_commit)
    if done.returncode:
        raise UserError(
            f"{one.name} and {other.name} have no commit in common in this clone",
            fix="git fetch --unshallow" if is_shallow(root) else "name the right base with --base",
        )
    return Revision(name=one.name, oid=done.stdout.decode().strip())


def is_shallow(root: Path) -> bool:
    """Whether this clone lacks part of its history."""
    return run(root, "rev-parse", "--is-shallow-repository").strip() == b"true"


def count_between(root: Path, old: str, new: str) -> int:
    """How many commits `new` has that `old` has not."""
    return int(run(root, "rev-list", "--count", f"{old}..{new}"))


def list_files(root: Path, revision: Revision) -> dict[str, str]:
    """Every file at the revision: path -> blob object name. Submodules and links are left out."""
    listing = run(root, "ls-tree", "-r", "-z", "--full-tree", revision.oid)
    files = {}
    for entry in listing.split(b"\0"):
        if entry:
            about, _, path = entry.partition(b"\t")
            mode, kind, oid = about.decode().split()
            if kind == "blob" and mode != "120000":
                files[path.decode(errors="surrogateescape")] = oid
    return files


def read_blobs(root: Path, oids: Iterable[str]) -> dict[str, bytes]:
    """The contents of the blobs, by object name, in one call to git however many there are."""
    wanted = sorted(set(oids))
    if not wanted:
        return {}
    output = run(root, "cat-file", "--batch", stdin="\n".join(wanted).encode() + b"\n")
    blobs = {}
    position = 0
    for oid in wanted:
        end = output.index(b"\n", position)
        header = output[position:end].decode().split()
        if header[-1] == "missing":
            raise MachineryError(
                f"git lacks the object {oid}",
                fix="git fetch --refetch, or clone the repository again",
            )
        size = int(header[2])
        blobs[oid] = output[end + 1 : end + 1 + size]
        position = end + 1 + size + 1
    return blobs


def commit_files(root: Path, paths: Iterable[str], message: str) -> str:
    """A commit on top of HEAD with these files as they stand in the working tree; its name.

    Neither the index nor a branch is touched.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        run(root, "read-tree", "HEAD", env=index)
        run(root, "add", "--", *paths, env=index)
        tree = run(root, "write-tree", env=index).decode().strip()
    return run(root, "commit-tree", tree, "-p", "HEAD", "-m", message, env=_BOT).decode().strip()


def push(root: Path, url: str, commit: str, branch: str, token: str) -> None:
    """Has the branch at `url` be this commit, whatever it was; the token signs in.

    Raises MachineryError with git's own words when it is refused.
    """
    signed_in = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    # By the environment: what stands in a command line, other processes can read.
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraheader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {signed_in}",
        "GIT_TERMINAL_PROMPT": "0",
    }
    run(root, "push", "--quiet", "--force", url, f"{commit}:refs/heads/{branch}", env=settings)


def head_commit(root: Path) -> str:
    """The full name of the commit that is checked out."""
    return resolve(root, "HEAD").oid


def _near(root: Path, name: str) -> str:
    refs = run(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes")
    names = refs.decode().split()
    return ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]) or "none"


def _call(
    root: Path, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    # A person's own settings (colours, pagers, hooks' GIT_DIR) must not change what is read.
    clean = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    clean |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(env or {})}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *args],
            input=stdin,
            env=clean,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise MachineryError("git is not installed", fix="install git and try again") from None


# As GitHub signs what its own workflows commit.
_BOT = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "github-actions[bot]"),
        ("EMAIL", "41898282+github-actions[bot]@users.noreply.github.com"),
    )
}
_FOREIGN = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
