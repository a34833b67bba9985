//! What an import depends on besides the project.

use std::path::PathBuf;

/// Settings of the machine and of the program.
#[derive(Clone, Debug)]
pub struct Options {
    /// Absolute paths of directories and files that are always left out, such as those for artifacts and logs. Those that are not there
    /// are no error.
    pub left_out: Vec<PathBuf>,
    /// The user's file of patterns that git ignores in all repositories.
    pub global_ignore: Option<PathBuf>,
}

impl Default for Options {
    /// Leaves nothing out but what the user's `core.excludesFile` says.
    fn default() -> Self {
        Self { left_out: Vec::new(), global_ignore: ignore::gitignore::gitconfig_excludes_path() }
    }
}
