"""Packs one static program. Usage: pack.py ARCHITECTURE PROGRAM OUT [--zig FOLDER] [--level 1..9]

Writes into OUT: the archive, Debian's package, the wheel, npm's packages and the list of what is linked in. Their bytes depend on the
program, on the checkout and on SOURCE_DATE_EPOCH alone.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import notices
import sbom
from archives import Entry, tar_gz, wheel
from project import MACHINES, debian_version, project, python_version

HERE = Path(__file__).parent
EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])


class Package:
    """What all packages of a program have in common."""

    def __init__(self, args: argparse.Namespace):
        self.machine = MACHINES[args.architecture]
        self.level, self.out = args.level, args.out
        self.project = project()
        self.version = self.project["version"]
        self.program = args.program.read_bytes()
        self.license, self.readme, self.changelog = (
            Path(name).read_bytes() for name in ("LICENSE", "README.md", "CHANGELOG.md")
        )
        target = f"{args.architecture}-unknown-linux-musl"
        self.notices = notices.text(target, args.zig / "lib/libc/musl/COPYRIGHT").encode()
        self.sbom = sbom.text(target, args.zig, self.program, EPOCH).encode()

        self.manual = manual(args.architecture, args.program.resolve())

    def shared(self, bash: str, zsh: str, fish: str, man: str) -> list[Entry]:
        """Completions and manual pages, at the paths that a system has for them."""
        pages = [Entry(f"{man}/{name}", text) for name, text in self.manual.items() if name.endswith(".1")]
        shells = [(bash, "bash"), (zsh, "zsh"), (fish, "fish")]
        return [*pages, *(Entry(path, self.manual[shell]) for path, shell in shells)]

    def write(self, name: str, data: bytes) -> None:
        (self.out / name).write_bytes(data)

    def archive(self) -> None:
        top = f"pgtether-{self.version}-{self.machine.rust}-linux"
        self.write(f"{top}.cdx.json", self.sbom)
        entries = [
            Entry(f"{top}/pgtether", self.program, 0o755),
            Entry(f"{top}/LICENSE", self.license),
            Entry(f"{top}/NOTICES", self.notices),
            Entry(f"{top}/README.md", self.readme),
            Entry(f"{top}/CHANGELOG.md", self.changelog),
            *self.shared(*(f"{top}/completions/{name}" for name in ("pgtether.bash", "_pgtether", "pgtether.fish")), f"{top}/man"),
        ]
        self.write(f"{top}.tar.gz", tar_gz(entries, EPOCH, self.level))

    def wheel(self) -> None:
        version = python_version(self.version)
        name, info = f"pgtether-{version}", f"pgtether-{version}.dist-info"
        share = f"{name}.data/data/share"
        # It needs no C library: neither glibc, of any version, nor musl.
        systems = [f"{system}_{self.machine.rust}" for system in ("manylinux_2_17", "manylinux2014", "musllinux_1_1")]
        metadata = [
            "Metadata-Version: 2.4",
            "Name: pgtether",
            f"Version: {version}",
            f"Summary: {self.project['description']}",
            f"Keywords: {','.join(self.project['keywords'])}",
            *([f"Project-URL: Source, {self.project['repository']}"] if self.project["repository"] else []),
            f"License-Expression: {self.project['license']}",
            "License-File: LICENSE",
            "License-File: NOTICES",
            "Classifier: Operating System :: POSIX :: Linux",
            "Description-Content-Type: text/markdown",
            "",
            self.readme.decode(),
        ]
        tags = [f"Tag: py3-none-{system}" for system in systems]
        lines = ["Wheel-Version: 1.0", f"Generator: pgtether {version}", "Root-Is-Purelib: false", *tags, ""]
        entries = [
            Entry(f"{name}.data/scripts/pgtether", self.program, 0o755),
            *self.shared(
                f"{share}/bash-completion/completions/pgtether",
                f"{share}/zsh/site-functions/_pgtether",
                f"{share}/fish/vendor_completions.d/pgtether.fish",
                f"{share}/man/man1",
            ),
            Entry(f"{info}/METADATA", "\n".join(metadata).encode()),
            Entry(f"{info}/WHEEL", "\n".join(lines).encode()),
            Entry(f"{info}/licenses/LICENSE", self.license),
            Entry(f"{info}/licenses/NOTICES", self.notices),
            Entry(f"{info}/sboms/pgtether.cdx.json", self.sbom),
        ]
        self.write(f"{name}-py3-none-{'.'.join(systems)}.whl", wheel(entries, info, EPOCH, self.level))

    def npm(self) -> None:
        """The package of this machine, and the one that users name, which picks it."""
        own = f"pgtether-linux-{self.machine.node}"
        described = {key: self.project[key] for key in ("version", "description", "license", "keywords")}
        if self.project["repository"]:
            described["repository"] = self.project["repository"]
        program = {"name": own, **described, "os": ["linux"], "cpu": [self.machine.node], "files": ["bin", "NOTICES"]}
        program["description"] = f"The program of the package pgtether, for Linux on {self.machine.node}"
        self.write_npm(program, [Entry("bin/pgtether", self.program, 0o755), Entry("NOTICES", self.notices)])
        programs = {f"pgtether-linux-{machine.node}": self.version for machine in MACHINES.values()}
        picks = {"name": "pgtether", **described, "bin": {"pgtether": "bin/pgtether.js"}, "files": ["bin"]}
        picks |= {"engines": {"node": ">=18"}, "optionalDependencies": programs}
        launcher = Entry("bin/pgtether.js", (HERE / "npm/pgtether.js").read_bytes(), 0o755)
        self.write_npm(picks, [launcher, Entry("README.md", self.readme)])

    def write_npm(self, described: dict, entries: list[Entry]) -> None:
        entries = [*entries, Entry("LICENSE", self.license)]
        entries.append(Entry("package.json", (json.dumps(described, indent=2) + "\n").encode()))
        entries = [Entry(f"package/{entry.path}", entry.data, entry.mode) for entry in entries]
        self.write(f"{described['name']}-{self.version}.tgz", tar_gz(entries, EPOCH, self.level))

    def debian(self) -> None:
        version = debian_version(self.version)
        unit = Path("docs/systemd/pgtether.service").read_text()
        unit, found = re.subn(r"/usr/local/bin/pgtether\b", "/usr/bin/pgtether", unit)
        assert found == 1, "docs/systemd/pgtether.service does not start /usr/local/bin/pgtether"
        files = [
            Entry("usr/bin/pgtether", self.program, 0o755),
            Entry("lib/systemd/system/pgtether.service", unit.encode()),
            Entry("usr/lib/sysusers.d/pgtether.conf", (HERE / "deb/sysusers.conf").read_bytes()),
            *(
                Entry(f"{page.path}.gz", gzip.compress(page.data, mtime=0)) if page.path.endswith(".1") else page
                for page in self.shared(
                    "usr/share/bash-completion/completions/pgtether",
                    "usr/share/zsh/vendor-completions/_pgtether",
                    "usr/share/fish/vendor_completions.d/pgtether.fish",
                    "usr/share/man/man1",
                )
            ),
            Entry("usr/share/doc/pgtether/copyright", self.license + b"\n" + self.notices),
            Entry("usr/share/doc/pgtether/README.md", self.readme),
            Entry("usr/share/doc/pgtether/changelog.gz", gzip.compress(self.changelog, mtime=0)),
            Entry("usr/share/doc/pgtether/examples/config.yaml", Path("config.yaml").read_bytes()),
            *(Entry(f"DEBIAN/{name}", (HERE / "deb" / name).read_bytes(), 0o755) for name in ("postinst", "prerm", "postrm")),
        ]
        size = sum(len(file.data) for file in files) // 1024
        control = [
            "Package: pgtether",
            f"Version: {version}",
            f"Architecture: {self.machine.debian}",
            "Maintainer: The developers of pgtether",
            f"Installed-Size: {size}",
            "Depends: systemd | systemd-standalone-sysusers",
            "Recommends: ca-certificates",
            "Section: database",
            "Priority: optional",
            f"Description: {self.project['description']}",
            "",
        ]
        files.append(Entry("DEBIAN/control", "\n".join(control).encode()))
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            for file in files:
                path = root / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.data)
                path.chmod(file.mode)
            # Configurations go there.
            (root / "etc/pgtether").mkdir(parents=True)
            for path in [root, *root.rglob("*")]:
                if path.is_dir():
                    path.chmod(0o755)
            # It writes no time later than SOURCE_DATE_EPOCH. One thread: the bytes must not depend on the number of cores.
            build = ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{min(self.level, 6)}", "--threads-max=1", "--build"]
            out = self.out / f"pgtether_{version}_{self.machine.debian}.deb"
            subprocess.run([*build, root, out], check=True, stdout=subprocess.DEVNULL)


def manual(architecture: str, program: Path) -> dict[str, bytes]:
    """What the program itself prints: its completions, by shell, and its manual pages, by file name."""

    def said(*args: str) -> bytes:
        try:
            return subprocess.check_output([program, *args])
        except OSError:
            # It is for another machine.
            return subprocess.check_output([f"qemu-{architecture}-static", program, *args])

    found = {shell: said("completions", shell) for shell in ("bash", "zsh", "fish")}
    names = ["pgtether"]
    for name in names:
        page = said("man", *name.split("-")[1:])
        found[f"{name}.1"] = page
        # A page names those of its commands: pgtether\-config(1). That of help only says that help is there.
        below = [ref.decode().replace("\\-", "-") for ref in re.findall(rb"(pgtether(?:\\-[a-z]+)+)\(1\)", page)]
        names += [of for of in below if of not in names and not of.endswith("-help")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("architecture", choices=MACHINES)
    parser.add_argument("program", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--zig", type=Path, required=True, help="the folder of Zig, which has the C library")
    parser.add_argument("--level", type=int, default=9, help="how hard to compress, 1 to 9")
    package = Package(parser.parse_args())
    package.archive()
    package.wheel()
    package.npm()
    package.debian()


if __name__ == "__main__":
    main()
