//! The project that a pipeline's file belongs to: its directory, and the commit that is checked out there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use rustix::fs::{FileType, lstat};
use source::Project;

/// The most that is read of a file of git's, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// How many references in a row may name another one.
const MOST_STEPS: usize = 5;

/// The project of a pipeline's file, by [`Project::find`]. `file` is absolute and without symbolic links.
pub fn root_of(file: &Path) -> PathBuf {
    match Project::find(file, None) {
        Ok(project) => project.root().to_owned(),
        // Whoever reads the file will tell.
        Err(_) => file.parent().unwrap_or(file).to_owned(),
    }
}

/// The commit that is checked out in a work tree, in hex. `None` where there is none, or where it is written
/// in a format that is not read here, such as reftable.
///
/// Read from the files that gitrepository-layout(5) describes, without starting git: its configuration may
/// name programs, and a run of a few milliseconds has no time for it.
pub fn commit_of(root: &Path) -> Option<String> {
    let git = git_directory(root)?;
    // A work tree that was added to another shares all references but its own HEAD.
    let common = match read(&git.join("commondir")) {
        Ok(path) => git.join(path.trim_end()),
        Err(_) => git.clone(),
    };
    let mut value = read(&git.join("HEAD")).ok()?;
    for _ in 0..MOST_STEPS {
        let text = value.trim_end();
        let Some(name) = text.strip_prefix("ref: ") else {
            return is_commit(text).then(|| text.to_owned());
        };
        if !is_reference(name) {
            return None;
        }
        value = match read(&common.join(name)) {
            Ok(value) => value,
            Err(_) => packed(&common, name)?,
        };
    }
    None
}

/// The directory that `.git` is or names.
fn git_directory(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if lstat(&git).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
        return Some(git);
    }
    let link = read(&git).ok()?;
    Some(root.join(link.strip_prefix("gitdir: ")?.trim_end()))
}

/// The commit of a reference in `packed-refs`, where each line is a commit and a name.
fn packed(common: &Path, name: &str) -> Option<String> {
    let all = read(&common.join("packed-refs")).ok()?;
    let commit = |line: &str| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned);
    all.lines().find_map(commit)
}

/// SHA-1 or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a name stays in the directory of the references.
fn is_reference(name: &str) -> bool {
    name.starts_with("refs/")
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Reads a text file, and nothing that is no file.
fn read(path: &Path) -> io::Result<String> {
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}
