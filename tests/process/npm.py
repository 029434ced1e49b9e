"""Packages from npm's registry, installed once below build/npm."""

import hashlib
import os
import shutil
import subprocess

from cluster import ROOT, Skip


def node_modules(name, packages):
    """The directory node_modules with `packages` ("ioredis@5"); other versions than last time are another directory.
    Skips where there is no npm or no way to its registry."""
    if not shutil.which("npm") or not shutil.which("node"):
        raise Skip("npm and node are not installed")
    key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    home = os.path.join(ROOT, "build", "npm", f"{name}-{key}")
    done = os.path.join(home, "installed")
    if not os.path.exists(done):
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(home)
        try:
            npm = subprocess.run(
                ["npm", "install", "--prefix", home, "--no-audit", "--no-fund", "--ignore-scripts", *packages],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
            error = npm.stderr.strip().splitlines()[-1][:80] if npm.returncode else ""
        except subprocess.TimeoutExpired:
            error = "timeout"
        if error:
            raise Skip(f"npm cannot install {packages[0]}: {error}")
        with open(done, "w", encoding="ascii"):
            pass
    return os.path.join(home, "node_modules")
