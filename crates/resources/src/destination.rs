//! Directories and files of an action.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{ResourceError, printable};

/// Makes the directory that `in` fills. It has to be empty: what else is there could be taken for what was fetched.
pub fn prepare(directory: &Path) -> Result<(), ResourceError> {
    fs::create_dir_all(directory).map_err(ResourceError::io("make", directory))?;
    let mut entries = fs::read_dir(directory).map_err(ResourceError::io("read", directory))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(ResourceError::failed(format!(
            "`{}` is not empty, name a directory without files",
            directory.display()
        ))),
    }
}

/// A path of the configuration below a directory.
pub fn below(directory: &Path, name: &str, path: &str) -> Result<PathBuf, ResourceError> {
    let relative = Path::new(path);
    let leads_out = |part: Component<'_>| !matches!(part, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || path.contains('\0') || relative.components().any(leads_out) {
        return Err(ResourceError::failed(format!(
            "`{name}` is `{}`, which is no path inside of the step's directory",
            printable(path)
        )));
    }
    Ok(directory.join(relative))
}

/// What is at a path of the configuration below a directory, links resolved. A link that an artifact brings along leads
/// nowhere else: its content would be published.
pub fn inside(directory: &Path, name: &str, path: &str) -> Result<PathBuf, ResourceError> {
    let found = below(directory, name, path)?;
    let failed = |error: std::io::Error| {
        ResourceError::failed(format!(
            "cannot read `{}`, the file of `{name}`: {error}",
            printable(path)
        ))
    };
    let real = found.canonicalize().map_err(failed)?;
    // Where volumes are links, the first part of a path is one of ours.
    let artifact = Path::new(path).components().find(|part| matches!(part, Component::Normal(_)));
    let artifact = artifact.map_or_else(|| directory.to_owned(), |part| directory.join(part));
    for root in [directory, &artifact] {
        if real.starts_with(root.canonicalize().map_err(failed)?) {
            return Ok(real);
        }
    }
    Err(ResourceError::failed(format!(
        "`{name}` is `{}`, which a link leads out of the step's directory",
        printable(path)
    )))
}

/// The content of a file that a param names.
pub fn read(directory: &Path, name: &str, path: &str) -> Result<String, ResourceError> {
    let file = inside(directory, name, path)?;
    fs::read_to_string(&file).map_err(|error| {
        ResourceError::failed(format!(
            "cannot read `{}`, the file of `{name}`: {error}",
            printable(path)
        ))
    })
}

pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), ResourceError> {
    fs::write(path, content).map_err(ResourceError::io("write", path))
}
