//! Copying a listing.

use std::path::Path;

use super::batch::with_threads;
use super::copy::Copy;
use super::destination::Destination;
use super::error::SourceError;
use super::links::Links;
use super::listing::Listing;
use super::made::MadeFiles;
use super::options::Options;
use super::progress::Progress;
use super::project::Project;
use super::scan::scan;
use super::selection::Selection;
use super::settle::settle;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Regular files and links that were copied.
    pub files: u64,
    /// Of the content of these files, without holes.
    pub bytes: u64,
    /// The length of all regular files, of those too that an earlier import had copied.
    pub size: u64,
    /// Regular files and links that an earlier import had copied, and that are still equal.
    pub kept: u64,
    /// What people should know, such as entries that were skipped.
    pub notices: Vec<String>,
}

/// Copies the selected files of a project into the empty directory `to`, whose own mode and time stay.
///
/// `to` is left out if it is in the project. After an error it holds a part of the files, which the caller
/// removes. The call blocks, and its threads are gone when it returns.
pub fn import(
    project: &Project,
    selection: &Selection,
    options: &Options,
    to: &Path,
    progress: &Progress,
) -> Result<Imported, SourceError> {
    whole(project, selection, options, to, progress, None).map(|(imported, _)| imported)
}

/// The same. Returns what was copied too, and notes it in `made`.
pub fn whole(
    project: &Project,
    selection: &Selection,
    options: &Options,
    to: &Path,
    progress: &Progress,
    made: Option<&MadeFiles>,
) -> Result<(Imported, Listing), SourceError> {
    let destination = Destination::open(to)?;
    let mut options = options.clone();
    options.left_out.push(to.to_owned());
    let mut listing = scan(project, selection, &options, progress)?;
    let copy = Copy::new(&destination, progress, made);
    let links = Links::of(&listing.directories);
    with_threads(|pool| {
        copy.directories(pool, &listing.directories)?;
        copy.entries(pool, &listing.directories, &links)?;
        copy.links(&listing.directories, &links)?;
        for (path, content) in &listing.written {
            copy.write(path, content)?;
        }
        settle(&copy, pool, &mut listing)?;
        copy.finish(pool, &listing.directories)
    })??;
    let (files, bytes) = copy.counted();
    let (size, notices) = (listing.size(), std::mem::take(&mut listing.notices));
    Ok((Imported { files, bytes, size, kept: 0, notices }, listing))
}
