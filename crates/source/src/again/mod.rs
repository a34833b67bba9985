//! A copy that an earlier import made, brought up to date.
//!
//! [`import_indexed`] writes an index of what it has made, and [`import_again`] compares it with the project and
//! with the tree that was made. What is equal stays, and everything else is copied anew. The tree is then what
//! [`import`](crate::import()) would have made in an empty directory.
//!
//! **What counts as equal.** The index has device, inode, size, mode and times of each file of the project, as it
//! was when it was read, and inode, mode, times and owner of the copy, as they were when it had been made. A file
//! stays if both are what the index says. Tasks may have written into the tree since, and may have given a file
//! its old size and its old time of modification. But they cannot choose the time of the last change, which the
//! kernel takes from its clock: only who may set the clock, or write to the disk itself, could make a changed
//! file look unchanged. A link cannot be changed at all, only replaced.
//!
//! **Clocks.** Two changes within one tick of the kernel's clock have the same time. So a file is in the index
//! only if its time was older than a tick when it was read, and an import that writes an index ends a tick after
//! its last change of the tree. What is missing in the index is copied anew.
//!
//! **Mapped files.** tmpfs does not say when a program changes a file through a mapping. So both trees have to be
//! on file systems that are known to do so (`trust.rs`).
//!
//! On the others a program that keeps a file of the project mapped for writing can still change a page that it
//! has changed just before, and the kernel gives the file no new time until the page has been written to the
//! disk. Such a change goes unnoticed, as it does for git.
//!
//! **What tasks leave behind.** Every other entry is removed, directories by moving each of them as a whole to
//! where the caller deletes them. Nothing is written into a file that is there, which may have other names or be
//! open somewhere: it is removed, and a new one is made. A directory whose owner, attributes or access list are
//! no longer as they were made is replaced. Links are never followed. What cannot be put right makes the tree
//! [unusable](Again::Unusable).
//!
//! **A stop at any time.** The index is removed before the first change, and written again as the last step, so
//! a tree that is only half way there has none. It names the boot of the machine, because files that had not
//! reached the disk at a crash may be empty.

mod clear;
mod compare;
mod format;
mod header;
mod kept;
mod plan;
mod remove;
mod stop;
mod trust;
mod update;
mod write;

use std::path::Path;

pub use self::kept::Kept;

use self::plan::Targets;
use self::write::Old;
use super::error::SourceError;
use super::handle::open_root;
use super::import::{Imported, whole};
use super::made::MadeFiles;
use super::options::Options;
use super::progress::Progress;
use super::project::Project;
use super::selection::Selection;

/// What came of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is what a new import would make.
    Imported(Imported),
    /// It cannot be used. It may be changed in part, has no index any more, and the caller removes it.
    Unusable {
        /// A fragment of a sentence, such as "it has no index".
        reason: String,
    },
}

/// Does what [`import`](crate::import()) does, and writes an index for [`import_again`] to the file `index`.
///
/// Where the file systems do not tell enough of a change there is no index. Neither is there one if it cannot
/// be written, which is no error: the next import copies everything.
pub fn import_indexed(
    project: &Project,
    selection: &Selection,
    options: &Options,
    to: &Path,
    index: &Path,
    progress: &Progress,
) -> Result<Imported, SourceError> {
    let made = MadeFiles::default();
    let mut extended = options.clone();
    extended.left_out.push(index.to_owned());
    let (imported, listing) = whole(project, selection, &extended, to, progress, Some(&made))?;
    let digest = header::digest(project, selection, options);
    if let Ok(tree) = open_root(to) {
        // Without an index the next import is a whole one.
        _ = write::write(&tree, index, digest, &Targets::of(&listing), &Old::default(), made);
    }
    Ok(imported)
}

/// Brings a tree that was made by [`import_indexed`] or by this up to date, and writes its index anew.
///
/// An error says that the project cannot be copied, as it does for [`import`](crate::import()). The tree may be
/// changed in part then. It has no index any more if it is.
pub fn import_again(
    project: &Project,
    selection: &Selection,
    options: &Options,
    kept: &Kept<'_>,
    progress: &Progress,
) -> Result<Again, SourceError> {
    match update::update(project, selection, options, kept, progress) {
        Ok(imported) => Ok(Again::Imported(imported)),
        Err(stop::Stop::Unusable(reason)) => Ok(Again::Unusable { reason }),
        Err(stop::Stop::Failed(error)) => Err(error),
    }
}
