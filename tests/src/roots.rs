//! Distributions with another glibc, each unpacked into a root folder of its own, and running programs inside them.
//!
//! Packages come from where this machine's own packages come from (its apt sources, asked of apt itself), only with
//! another suite; apt checks their signatures and computes which packages belong together, against an empty status
//! file. Nothing is installed: the packages are unpacked, and no script of theirs is run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::run::{Run, find, output};
use crate::workspace;

/// The packages whose programs run in each root; apt adds what they need.
const PACKAGES: &[&str] = &[
    "bash",
    "bzip2",
    "ca-certificates",
    "coreutils",
    "curl",
    "dash",
    "file",
    "findutils",
    "mawk",
    "git",
    "grep",
    "libc-bin",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "openssh-client",
    "openssl",
    "perl",
    "python3",
    "sed",
    "sqlite3",
    "tar",
    "xz-utils",
    "zstd",
];

/// Packages that only some suites have.
const EXTRA_PACKAGES: &[&str] = &["libc-gconv-modules-extra"];

/// An unpacked distribution.
#[derive(Clone, Debug)]
pub struct Root {
    pub suite: &'static str,
    pub path: PathBuf,
}

/// Why there is no root on this machine.
#[derive(Clone, Debug)]
pub struct Unavailable(pub String);

/// The root of a suite, downloaded and unpacked on first use and kept in `target/roots`.
pub fn root(suite: &'static str) -> Result<std::result::Result<Root, Unavailable>> {
    // One at a time, and no second attempt after one that failed.
    static OUTCOMES: Mutex<Vec<(&str, std::result::Result<Root, Unavailable>)>> = Mutex::new(Vec::new());
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, outcome)) = outcomes.iter().find(|(known, _)| *known == suite) {
        return Ok(outcome.clone());
    }
    let outcome = if workspace::is_root() {
        prepare(suite).map_err(|error| Unavailable(format!("{suite} cannot be unpacked: {error:#}")))
    } else {
        Err(Unavailable("chroot needs root".to_owned()))
    };
    outcomes.push((suite, outcome.clone()));
    Ok(outcome)
}

fn prepare(suite: &'static str) -> Result<Root> {
    let _lock = workspace::lock(suite)?;
    let folder = workspace::target("roots")?.join(suite);
    let root = Root { suite, path: folder.join("root") };
    let stamp = folder.join("unpacked");
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|packages| packages == wanted) {
        return Ok(root);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let apt = Apt::new(suite, &folder.join("apt"))?;
    apt.get(&["update"])?;
    let extra = EXTRA_PACKAGES.iter().filter(|package| apt.has(package));
    let packages: Vec<&str> = PACKAGES.iter().chain(extra).copied().collect();
    apt.get(&[&["--download-only", "--no-install-recommends", "install"], &packages[..]].concat())?;
    for link in ["bin", "lib", "lib64", "sbin"] {
        fs::create_dir_all(root.path.join("usr").join(link))?;
        symlink(Path::new("usr").join(link), root.path.join(link))?;
    }
    for directory in ["dev", "proc", "tmp", "root", "etc"] {
        fs::create_dir_all(root.path.join(directory))?;
    }
    for package in apt.downloaded()? {
        checked(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root.path))?;
    }
    if !root.path.join("usr/bin/sh").exists() {
        symlink("dash", root.path.join("usr/bin/sh"))?;
    }
    for file in ["passwd", "group", "hosts", "nsswitch.conf", "protocols", "services"] {
        let source = Path::new("/etc").join(file);
        if source.exists() {
            fs::copy(source, root.path.join("etc").join(file))?;
        }
    }
    checked(Command::new("chroot").arg(&root.path).arg("/sbin/ldconfig"))?;
    fs::write(stamp, wanted)?;
    Ok(root)
}

/// apt with a configuration, a state and a cache of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(suite: &str, folder: &Path) -> Result<Self> {
        for directory in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(folder.join(directory))?;
        }
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let source = format!("deb [signed-by={keyring}] {} {suite} main\n", mirror()?);
        fs::write(folder.join("sources/suite.list"), source)?;
        fs::write(folder.join("status"), "")?;
        let at = folder.display();
        let configuration = format!(
            "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{at}/sources\";\n\
             Dir::State::Lists \"{at}/lists\";\nDir::State::Status \"{at}/status\";\nDir::Cache \"{at}/cache\";\n\
             APT::Sandbox::User \"root\";\nAPT::Install-Recommends \"false\";\nBinary::apt-get::APT::Keep-Downloaded-Packages \"true\";\n\
             APT::Keep-Downloaded-Packages \"true\";\nAPT::Update::Post-Invoke \"\";\nDPkg::Post-Invoke \"\";\n"
        );
        fs::write(folder.join("apt.conf"), configuration)?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        command
    }

    fn get(&self, words: &[&str]) -> Result<()> {
        checked(self.command("apt-get").args(["--yes", "--quiet=2"]).args(words))
    }

    fn has(&self, package: &str) -> bool {
        let shown = output(self.command("apt-cache").args(["show", package]));
        shown.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    }

    fn downloaded(&self) -> Result<Vec<PathBuf>> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(self.folder.join("cache/archives"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                packages.push(path);
            }
        }
        packages.sort();
        if packages.is_empty() {
            bail!("apt downloaded nothing");
        }
        Ok(packages)
    }
}

/// Where this machine takes the packages of its own release from.
fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no codename")?
        .trim_matches('"');
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]);
    let output = output(&mut command).context("apt-get is missing")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{codename} main ")))
        .map(str::to_owned)
        .with_context(|| format!("apt knows no source for {codename} main"))
}

fn checked(command: &mut Command) -> Result<()> {
    let output = output(command).with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let said: String = String::from_utf8_lossy(&output.stderr).chars().take(2000).collect();
        bail!("{:?} failed: {said}", command.get_program());
    }
    Ok(())
}

/// Makes the inside of the root look like the outside where a test's own files lie, then becomes the program there.
const SCRIPT: &str = r#"
root=$1 target=$2 folder=$3 name=$4 program=$5; shift 5
for place in /dev /tmp "$target"; do mkdir -p "$root$place" && mount --bind "$place" "$root$place" || exit 125; done
mount -t proc proc "$root/proc" || exit 125
exec chroot "$root" /bin/bash -c 'cd "$1" || exit 125; name=$2 program=$3; shift 3
while [ "$1" != -- ]; do export "$1"; shift; done; shift; exec -a "$name" "$program" "$@"' \
    bash "$folder" "$name" "$program" "$@"
"#;

impl Root {
    /// The same run inside the root, in a mount namespace of its own. The repository's `target` and `/tmp` are where
    /// they are outside.
    pub fn inside(&self, run: &Run) -> Result<Run> {
        let unshare = find("unshare").context("unshare (package util-linux) is missing")?;
        let arguments: Vec<OsString> = ["--mount", "--propagation", "private", "bash", "-c", SCRIPT, "bash"]
            .into_iter()
            .map(OsString::from)
            .chain([
                self.path.clone().into(),
                workspace::target("")?.into(),
                run.folder.clone().into(),
                run.name.clone(),
                run.program.clone().into(),
            ])
            // Its variables are for the program alone: an auditor would watch the wrapper, too.
            .chain(run.environment.iter().map(|(key, value)| {
                let mut setting = key.clone();
                setting.push("=");
                setting.push(value);
                setting
            }))
            .chain(["--".into()])
            .chain(run.arguments.iter().cloned())
            .collect();
        Ok(Run {
            program: unshare.clone(),
            name: unshare.into(),
            arguments,
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            shown: Some(format!("(inside {}) {}", self.path.display(), run.reproduction())),
            ..run.clone()
        })
    }

    /// A program of the root by its name: the path inside, with every symbolic link followed inside.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let mut command = Command::new("chroot");
        command
            .arg(&self.path)
            .args(["/bin/bash", "-c", r#"readlink -f "$(type -P "$1")""#, "bash", name])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = output(&mut command).ok()?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        (output.status.success() && path.is_absolute()).then_some(path)
    }

    /// The version of the root's glibc, such as `2.41`.
    pub fn glibc_version(&self) -> Result<String> {
        let output = output(Command::new("chroot").arg(&self.path).args(["/usr/bin/getconf", "GNU_LIBC_VERSION"]))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.trim().strip_prefix("glibc ").map(str::to_owned).context("getconf names no glibc")
    }
}
