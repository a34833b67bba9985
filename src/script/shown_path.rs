//! Paths in messages.

use std::path::Path;

/// A path as short as a user would write it.
pub fn relative(file: &Path) -> String {
    let here = std::env::current_dir().ok();
    match here.and_then(|here| file.strip_prefix(here).ok()) {
        Some(path) if path.as_os_str().is_empty() => ".".to_owned(),
        Some(path) => path.display().to_string(),
        None => file.display().to_string(),
    }
}
