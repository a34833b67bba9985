//! Copies what is in a directory into another one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::error::ResourceError;

/// Copies directories, files with their permissions, and links as links. What is there under the same name is replaced,
/// each file whole or not at all; everything else there stays.
pub fn tree(from: &Path, to: &Path) -> Result<(), ResourceError> {
    let real = |path: &Path| fs::canonicalize(path).map_err(ResourceError::io("find", path));
    if real(to)?.starts_with(real(from)?) {
        return Err(ResourceError::failed(format!(
            "`{}` is inside of `{}`, and cannot be filled with a copy of that",
            to.display(),
            from.display()
        )));
    }
    let mut directories = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = directories.pop() {
        for entry in fs::read_dir(&from).map_err(ResourceError::io("read", &from))? {
            let entry = entry.map_err(ResourceError::io("read", &from))?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(ResourceError::io("read", &source))?;
            if kind.is_dir() {
                let is_there = fs::symlink_metadata(&target).is_ok_and(|found| found.is_dir());
                if !is_there {
                    fs::create_dir(&target).map_err(ResourceError::io("make", &target))?;
                }
                directories.push((source, target));
            } else if kind.is_symlink() {
                let link = fs::read_link(&source).map_err(ResourceError::io("read", &source))?;
                replace(&to, &target, |temporary| symlink(&link, temporary))?;
            } else if kind.is_file() {
                replace(&to, &target, |temporary| fs::copy(&source, temporary).map(drop))?;
            } else {
                return Err(ResourceError::failed(format!(
                    "`{}` is no file, directory or link, and cannot be copied",
                    source.display()
                )));
            }
        }
    }
    Ok(())
}

/// Makes the file beside its place, and moves it there.
fn replace(
    folder: &Path,
    target: &Path,
    make: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<(), ResourceError> {
    let made = tempfile::Builder::new()
        .prefix(".ci-resource-")
        .make_in(folder, |path| make(path))
        .map_err(ResourceError::io("write", target))?;
    made.persist(target).map(drop).map_err(|error| ResourceError::io("write", target)(error.error))
}
