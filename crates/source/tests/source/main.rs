//! Projects as their users have them, and what of them arrives in a copy.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod again;
mod again_random;
mod changing;
mod fidelity;
mod git;
mod hashing;
mod ignoring;
mod outside;
mod selecting;
mod stopping;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use source::{Imported, Options, Progress, Project, Selection, SourceError, import};
use tempfile::TempDir;

/// A directory with files, and room beside it.
pub struct Place {
    _top: TempDir,
    pub top: PathBuf,
    /// The project.
    pub root: PathBuf,
}

impl Place {
    pub fn empty() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// On a file system that tells of changes, which that of temporary files may not do.
    pub fn on_disk() -> Self {
        Self::at(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    fn at(top: TempDir) -> Self {
        let path = top.path().canonicalize().unwrap();
        fs::create_dir(path.join("project")).unwrap();
        Self { _top: top, root: path.join("project"), top: path }
    }

    /// A project with these files, each of which holds its own name.
    pub fn with(files: &[&str]) -> Self {
        let place = Self::empty();
        files.iter().for_each(|file| place.write(file, file));
        place
    }

    /// The same in a repository of git.
    pub fn repository(files: &[&str]) -> Self {
        let place = Self::with(files);
        git(&place.root, &["init", "--quiet", "--initial-branch=main"]);
        place
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn commit(&self) {
        commit(&self.root);
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.root, arguments)
    }

    pub fn project(&self) -> Project {
        Project::at(&self.root).unwrap()
    }

    pub fn import(&self, selection: &Selection) -> Result<Copy, SourceError> {
        copy(&self.project(), selection, &options())
    }

    /// The names of files that arrive without the repository's.
    pub fn arriving(&self) -> Vec<String> {
        self.import(&without_git()).unwrap().files()
    }
}

/// A copy of a project.
pub struct Copy {
    _top: TempDir,
    pub root: PathBuf,
    pub imported: Imported,
}

impl Copy {
    /// All files and links without those of repositories.
    pub fn files(&self) -> Vec<String> {
        let all = tree(&self.root).into_iter().filter(|(_, line)| !line.starts_with("directory"));
        all.map(|(path, _)| path).filter(|path| !path.contains(".git/")).collect()
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.root, arguments)
    }
}

pub fn copy(
    project: &Project,
    selection: &Selection,
    options: &Options,
) -> Result<Copy, SourceError> {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().canonicalize().unwrap().join("copy");
    fs::create_dir(&root).unwrap();
    let imported = import(project, selection, options, &root, &Progress::default())?;
    Ok(Copy { _top: top, root, imported })
}

/// Without the ignore file of whoever runs the tests.
pub fn options() -> Options {
    Options { left_out: Vec::new(), global_ignore: None }
}

pub fn without_git() -> Selection {
    Selection { git: false, ..Selection::default() }
}

pub fn commit(root: &Path) {
    git(root, &["add", "--all"]);
    git(root, &["commit", "--quiet", "--message=x"]);
}

/// Runs git without settings of the machine. What it says is returned.
pub fn git(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
        .args(["-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(root)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(output.stderr));
    text(output.stdout)
}

/// Everything below a directory: type, mode, size, time of modification and target or content.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let found = path.symlink_metadata().unwrap();
            let mode = found.permissions().mode() & 0o7777;
            let time = format!("{}.{:09}", found.mtime(), found.mtime_nsec());
            let line = if found.is_dir() {
                directories.push(path.clone());
                format!("directory {mode:o} {time}")
            } else if found.is_symlink() {
                format!("link {:?} {time}", path.read_link().unwrap())
            } else {
                let hash = blake3::hash(&fs::read(&path).unwrap());
                format!("file {mode:o} {time} {} {} {hash}", found.len(), found.nlink())
            };
            all.insert(format!("{}", path.strip_prefix(root).unwrap().display()), line);
        }
    }
    all
}
