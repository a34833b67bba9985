//! What ignore rules say of a path.
//!
//! Each directory adds the rules of its own files to those of the directories above. The nearest file that says
//! something about a path decides, as in git. The rules of git end at the top of a work tree; those of
//! `.ciignore` go on up to the project's directory.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fd::AsFd;
use rustix::io::Errno;

use super::error::{SourceError, shown};
use super::git_file;
use super::git_index::Tracked;
use super::handle::open_file;
use super::notices::Notices;
use super::repository::Repository;

/// Most bytes of a file with rules.
const LARGEST: u64 = 16 << 20;

/// The rules for the entries of one directory. Paths are relative to the highest directory with rules.
#[derive(Debug)]
pub struct Rules {
    above: Option<Arc<Self>>,
    /// The directory.
    place: PathBuf,
    git: Option<Gitignore>,
    ci: Option<Gitignore>,
    /// If the directory is the top of one.
    work_tree: Option<WorkTree>,
    /// Whether there are any rules at all, here or above.
    has_any: bool,
}

#[derive(Debug)]
struct WorkTree {
    repository: Repository,
    /// Of `.git/info/exclude`.
    exclude: Option<Gitignore>,
    /// Read when a rule leaves something out. `None` if it cannot be read.
    tracked: OnceLock<Option<Tracked>>,
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// A directory that is ignored, but git tracks files in it.
    TrackedOnly,
    LeftOut,
}

/// What all rules of an import share.
pub struct Reading<'a> {
    /// Of the user's `core.excludesFile`.
    pub global: Option<Gitignore>,
    pub notices: &'a Notices,
}

/// The names of files with rules that a directory has, and its repository.
#[derive(Default)]
pub struct Present {
    pub gitignore: bool,
    pub ciignore: bool,
    pub repository: Option<Repository>,
}

impl Reading<'_> {
    /// The rules of a directory, from its own files. `place` is its path below the highest directory with
    /// rules, `path` the one that errors show.
    pub fn rules(
        &self,
        above: Option<Arc<Rules>>,
        directory: impl AsFd,
        place: &Path,
        path: &Path,
        present: Present,
    ) -> Result<Arc<Rules>, SourceError> {
        let directory = directory.as_fd();
        let read = |is_present: bool, name: &str| -> Result<Option<Gitignore>, SourceError> {
            if !is_present {
                return Ok(None);
            }
            let path = path.join(name);
            let text = match open_file(directory, name) {
                Ok(file) => read_text(file),
                Err(Errno::NOENT) => return Ok(None),
                // As in git: a link could lead to the rules of somebody else.
                Err(Errno::LOOP) => {
                    self.notices
                        .add(format!("`{}` is a link, its rules are not read", shown(&path)));
                    return Ok(None);
                }
                Err(errno) => Err(errno),
            };
            match text {
                Ok(text) => Ok(self.parsed(&text, &path)),
                Err(Errno::ISDIR) => Ok(None),
                Err(errno) => Err(SourceError::read(&path, errno)),
            }
        };
        let (git, ci) =
            (read(present.gitignore, ".gitignore")?, read(present.ciignore, ".ciignore")?);
        if let Some(above) =
            above.as_ref().filter(|_| git.is_none() && ci.is_none() && present.repository.is_none())
        {
            return Ok(above.clone());
        }
        let work_tree = present.repository.map(|repository| WorkTree {
            exclude: self.file(&repository.common.join("info/exclude")),
            tracked: OnceLock::new(),
            repository,
        });
        let has_exclude = work_tree.as_ref().is_some_and(|top| top.exclude.is_some());
        let has_any = git.is_some()
            || ci.is_some()
            || has_exclude
            || above.as_ref().is_some_and(|above| above.has_any);
        Ok(Arc::new(Rules { above, place: place.to_owned(), git, ci, work_tree, has_any }))
    }

    /// The rules of a file outside of the project, if it is there.
    pub fn file(&self, file: &Path) -> Option<Gitignore> {
        match git_file::read(file, LARGEST).map_err(|error| error.raw_os_error()) {
            Ok(text) => self.parsed(&text, file),
            Err(Some(libc_errno)) if is_absent(libc_errno) => None,
            Err(_) => {
                self.notices
                    .add(format!("`{}` cannot be read, its rules do not count", shown(file)));
                None
            }
        }
    }

    fn parsed(&self, text: &[u8], path: &Path) -> Option<Gitignore> {
        let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
        let mut builder = GitignoreBuilder::new("");
        for line in text.lines() {
            if builder.add_line(None, line).is_err() {
                let path = shown(path);
                self.notices.add(format!(
                    "`{path}` has a rule that is not valid: `{}`",
                    shown(Path::new(line))
                ));
            }
        }
        // Each of the lines is valid; what is left is that all of them together are too large.
        let built = builder.build();
        if let Err(error) = &built {
            self.notices.add(format!("the rules of `{}` do not count: {error}", shown(path)));
        }
        built.ok().filter(|rules| !rules.is_empty())
    }
}

impl Rules {
    /// What happens to the entry at `place`. With `tracked_only` its directory is ignored.
    pub fn verdict(
        &self,
        reading: &Reading<'_>,
        place: &Path,
        is_directory: bool,
        tracked_only: bool,
    ) -> Verdict {
        if !self.has_any && reading.global.is_none() && !tracked_only {
            return Verdict::Taken;
        }
        let ci = self.levels().find_map(|level| level.said(level.ci.as_ref(), place, is_directory));
        if ci == Some(true) {
            return Verdict::LeftOut;
        }
        let top = self.work_tree();
        let is_ignored =
            tracked_only || ci.is_none() && self.is_ignored(reading, place, is_directory);
        if !is_ignored {
            return Verdict::Taken;
        }
        let Some((top, work_tree)) = top else { return Verdict::LeftOut };
        let Some(tracked) = work_tree.tracked(reading.notices) else { return Verdict::LeftOut };
        let path = place.strip_prefix(top).unwrap_or(place);
        if tracked.contains(path) {
            Verdict::Taken
        } else if is_directory && tracked.contains_below(path) {
            Verdict::TrackedOnly
        } else {
            Verdict::LeftOut
        }
    }

    /// Whether git ignores a path, tracked or not.
    fn is_ignored(&self, reading: &Reading<'_>, place: &Path, is_directory: bool) -> bool {
        let mut top = Path::new("");
        for level in self.levels() {
            if let Some(said) = level.said(level.git.as_ref(), place, is_directory) {
                return said;
            }
            if let Some(work_tree) = &level.work_tree {
                if let Some(said) = level.said(work_tree.exclude.as_ref(), place, is_directory) {
                    return said;
                }
                top = &level.place;
                break;
            }
        }
        let path = place.strip_prefix(top).unwrap_or(place);
        said(reading.global.as_ref(), path, is_directory) == Some(true)
    }

    /// From this directory upwards.
    fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |level| level.above.as_deref())
    }

    fn work_tree(&self) -> Option<(&Path, &WorkTree)> {
        self.levels().find_map(|level| Some((&*level.place, level.work_tree.as_ref()?)))
    }

    fn said(&self, rules: Option<&Gitignore>, place: &Path, is_directory: bool) -> Option<bool> {
        // Most directories have none.
        rules?;
        said(rules, place.strip_prefix(&self.place).unwrap_or(place), is_directory)
    }
}

impl WorkTree {
    fn tracked(&self, notices: &Notices) -> Option<&Tracked> {
        let read = || match Tracked::read(&self.repository) {
            Ok(tracked) => Some(tracked),
            Err(error) => {
                let index = self.repository.git.join("index");
                notices.add(format!(
                    "`{}` cannot be read, so files that are ignored are left out even if git tracks them: {error}",
                    shown(&index)
                ));
                None
            }
        };
        self.tracked.get_or_init(read).as_ref()
    }
}

/// `true` if the rules leave the path out, `false` if they keep it, `None` if they say nothing.
fn said(rules: Option<&Gitignore>, path: &Path, is_directory: bool) -> Option<bool> {
    match rules?.matched(path, is_directory) {
        Match::Ignore(_) => Some(true),
        Match::Whitelist(_) => Some(false),
        Match::None => None,
    }
}

fn read_text(file: rustix::fd::OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let read = std::fs::File::from(file).take(LARGEST).read_to_end(&mut text);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(text)
}

fn is_absent(errno: i32) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::ISDIR].map(Errno::raw_os_error).contains(&errno)
}
