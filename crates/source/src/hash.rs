//! One hash over some files of a project.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::readlinkat;
use rustix::io::{Errno, read};

use super::batch::{each, with_threads};
use super::content::{Failure, settled};
use super::error::{SourceError, shown};
use super::glob::Globs;
use super::handle::open_below;
use super::listing::{Directory, Entry, Kind};
use super::options::Options;
use super::progress::Progress;
use super::project::Project;
use super::scan::scan;
use super::selection::Selection;

/// Bytes that one call reads.
const BUFFER: usize = 128 * 1024;

/// What marks a pattern as a glob.
const WILDCARDS: [char; 4] = ['*', '?', '[', '\\'];

/// The BLAKE3 hash, in hexadecimal, over the paths of files that match and their content, in the order of the
/// paths. Modes and times are not part of it, so it is the same on each machine.
///
/// A pattern without a wildcard names a file, or a directory with all in it, even if it is ignored. Any other is
/// a glob in the syntax of `.gitignore` that begins at the project's directory: `*.lock` matches files there, and
/// `**/*.lock` everywhere. Globs match no ignored files. Of a symbolic link that matches a glob, the target's
/// path is hashed. Each pattern has to match something.
pub fn hash_files(
    project: &Project,
    patterns: &[String],
    options: &Options,
    progress: &Progress,
) -> Result<String, SourceError> {
    let no_match = |patterns: &[String]| SourceError::NoMatch {
        patterns: patterns.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or "),
        project: shown(project.root()),
    };
    let mut hashes = BTreeMap::new();
    let (globs, names): (Vec<_>, Vec<_>) = patterns
        .iter()
        .cloned()
        .partition(|pattern| pattern.contains(WILDCARDS) || pattern.starts_with('!'));
    for name in names {
        let path = PathBuf::from(&name);
        let selection = Selection {
            path: Some(path.clone()),
            ignored: true,
            git: false,
            ..Selection::default()
        };
        let found = hash_listing(project, &selection, options, progress)?;
        if found.is_empty() {
            return Err(no_match(&[name]));
        }
        let is_file = project.root().join(&path).is_file();
        let place =
            if is_file { path.parent().unwrap_or(Path::new("")).to_owned() } else { path.clone() };
        for (below, hash) in found {
            // A file may be named by a link.
            let path = if is_file { path.clone() } else { place.join(below) };
            hashes.insert(normal(&path), hash);
        }
    }
    if !globs.is_empty() {
        let anchored = |glob: &String| match glob.strip_prefix('!') {
            Some(rest) => format!("!/{}", rest.trim_start_matches('/')),
            None => format!("/{}", glob.trim_start_matches('/')),
        };
        let include: Vec<String> = globs.iter().map(anchored).collect();
        let selection = Selection { include: include.clone(), git: false, ..Selection::default() };
        let found = hash_listing(project, &selection, options, progress)?;
        for (glob, anchored) in globs.iter().zip(include).filter(|(glob, _)| !glob.starts_with('!'))
        {
            let one = Globs::new(&[anchored])?;
            let is_matched = |path: &Path| {
                let mut above = path.ancestors().skip(1);
                one.matches(path, false, false)
                    || above.any(|above| one.matches(above, true, false))
            };
            if !found.iter().any(|(path, _)| is_matched(path)) {
                return Err(no_match(std::slice::from_ref(glob)));
            }
        }
        hashes.extend(found);
    }
    if hashes.is_empty() {
        return Err(no_match(patterns));
    }
    let mut all = blake3::Hasher::new();
    for (path, hash) in hashes {
        let path = path.as_os_str().as_bytes();
        all.update(&(path.len() as u64).to_le_bytes()).update(path).update(hash.as_bytes());
    }
    Ok(all.finalize().to_hex().to_string())
}

/// A path without `.` and `..`, which are known to stay inside.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => _ = normal.pop(),
            std::path::Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

/// The hash of each selected file.
fn hash_listing(
    project: &Project,
    selection: &Selection,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<(PathBuf, blake3::Hash)>, SourceError> {
    let listing = scan(project, selection, options, progress)?;
    let items: Vec<(&Directory, &Entry)> = listing
        .directories
        .iter()
        .flat_map(|directory| directory.entries.iter().map(move |entry| (directory, entry)))
        .collect();
    let hashes = std::sync::Mutex::new(Vec::with_capacity(items.len()));
    with_threads(|pool| {
        each(
            pool,
            &items,
            || vec![0; BUFFER],
            |buffer, (directory, entry)| {
                progress.check()?;
                let path = directory.path.join(&entry.name);
                if let Some(hash) = hash_entry(directory, entry, &path, buffer, progress)? {
                    hashes
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((path, hash));
                }
                Ok(())
            },
        )
    })??;
    Ok(hashes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn hash_entry(
    directory: &Directory,
    entry: &Entry,
    path: &Path,
    buffer: &mut [u8],
    progress: &Progress,
) -> Result<Option<blake3::Hash>, SourceError> {
    let from = match open_below(&directory.from.root, &directory.from.path) {
        Ok(from) => from,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(SourceError::read(path, errno)),
    };
    if entry.kind == Kind::Symlink {
        return match readlinkat(&from, &*entry.name, Vec::new()) {
            Ok(target) => Ok(Some(blake3::hash(target.to_bytes()))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(SourceError::read(path, errno)),
        };
    }
    let hashed = settled(from.as_fd(), entry, path, |file, _| hash(file, buffer, progress))?;
    Ok(hashed.map(|(_, hash)| hash))
}

fn hash(file: &OwnedFd, buffer: &mut [u8], progress: &Progress) -> Result<blake3::Hash, Failure> {
    let mut hasher = blake3::Hasher::new();
    loop {
        if progress.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        match read(file, &mut *buffer).map_err(Failure::Read)? {
            0 => return Ok(hasher.finalize()),
            count => _ = hasher.update(&buffer[..count]),
        }
    }
}
