//! Where repositories go in a copy.

use std::path::{Path, PathBuf};

use super::error::shown;
use super::notices::Notices;
use super::repository::Repository;

/// A repository and its place in the copy.
#[derive(Debug)]
pub struct Placed {
    /// The path of the work tree.
    pub work_tree: PathBuf,
    /// The path of the repository.
    pub path: PathBuf,
    pub repository: Repository,
    pub way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is the `.git` of its work tree.
    InPlace,
    /// It is elsewhere, and becomes the `.git` of its work tree.
    Moved,
    /// It is part of another one that comes along.
    Below,
}

/// Decides where repositories go. `root` is the selected directory, which the paths of work trees are
/// relative to.
pub fn place(
    root: &Path,
    mut repositories: Vec<(PathBuf, Repository)>,
    notices: &Notices,
) -> Vec<Placed> {
    repositories.sort_by(|one, other| one.0.cmp(&other.0));
    let mut placed: Vec<Placed> = Vec::new();
    for (work_tree, repository) in repositories {
        let below = |other: &Placed| {
            let rest = repository.git.strip_prefix(&other.repository.git).ok()?;
            (!repository.is_linked() && other.way != Way::Below).then(|| other.path.join(rest))
        };
        let own = work_tree.join(".git");
        let (path, way) = if repository.git == root.join(&own) {
            (own, Way::InPlace)
        } else if let Some(path) = placed.iter().find_map(below) {
            (path, Way::Below)
        } else {
            (own, Way::Moved)
        };
        let refs = repository.setting("extensions", "refstorage");
        if repository.is_linked() && refs.is_some_and(|refs| refs != "files") {
            let path = shown(&work_tree.join(".git"));
            notices.add(format!(
                "`{path}` was left out: it belongs to an added work tree whose refs are not kept in files"
            ));
            continue;
        }
        placed.push(Placed { work_tree, path, repository, way });
    }
    placed
}
