//! The directories of a copy.

use rayon::ThreadPool;

use super::batch::each;
use super::copy::Copy;
use super::error::SourceError;
use super::listing::Directory;

impl Copy<'_> {
    /// Makes directories, those above before those below.
    pub fn directories<'d>(
        &self,
        pool: &ThreadPool,
        directories: impl IntoIterator<Item = &'d Directory>,
    ) -> Result<(), SourceError> {
        for level in by_depth(directories) {
            each(
                pool,
                &level,
                || (),
                |(), directory| {
                    self.progress.check()?;
                    self.destination.make(&directory.path)
                },
            )?;
        }
        Ok(())
    }

    /// Gives directories their modes and times, those below before those above.
    pub fn finish<'d>(
        &self,
        pool: &ThreadPool,
        directories: impl IntoIterator<Item = &'d Directory>,
    ) -> Result<(), SourceError> {
        for level in by_depth(directories).into_iter().rev() {
            each(
                pool,
                &level,
                || (),
                |(), directory| {
                    self.progress.check()?;
                    if directory.path.as_os_str().is_empty() {
                        return Ok(());
                    }
                    self.destination.finish(&directory.path, &directory.stamp)
                },
            )?;
        }
        Ok(())
    }
}

/// Directories by how deep they are. Those without a name stand for the copy itself.
fn by_depth<'d>(directories: impl IntoIterator<Item = &'d Directory>) -> Vec<Vec<&'d Directory>> {
    let mut levels: Vec<Vec<&Directory>> = Vec::new();
    for directory in directories {
        let depth = directory.path.components().count();
        if levels.len() <= depth {
            levels.resize_with(depth + 1, Vec::new);
        }
        if depth > 0 {
            levels[depth].push(directory);
        }
    }
    levels
}
