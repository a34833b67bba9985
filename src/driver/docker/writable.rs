//! Directories for tasks that do not run as root.

use std::path::Path;

use tar::{Builder, EntryType, Header};

/// An archive of empty directories at absolute paths that everybody may write to. Their parents are left
/// as they are.
pub fn archive<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for path in paths {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o777);
        header.set_size(0);
        header.set_mtime(super::labels::now().unsigned_abs());
        // Writing to memory does not fail, and a path that no header takes is one that the engine
        // does not take either.
        let path = path.strip_prefix("/").unwrap_or(path);
        _ = archive.append_data(&mut header, path, std::io::empty());
    }
    archive.into_inner().unwrap_or_default()
}
