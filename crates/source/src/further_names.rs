//! Files that have several names in a project, which their copies have too.

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::copy::{Copy, open_source};
use super::error::SourceError;
use super::links::Links;
use super::listing::{Directory, Stamp};

impl Copy<'_> {
    /// Makes further names of files that have several.
    pub fn links(&self, directories: &[Directory], links: &Links) -> Result<(), SourceError> {
        let mut copier = None;
        for (number, at) in links.others() {
            self.progress.check()?;
            let directory = &directories[number];
            let entry = &directory.entries[at];
            let Some(from) = open_source(directory)? else { continue };
            let is_copied = self.is_linkable(entry);
            let still = match statat(&from, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Stamp::of(&stat),
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    return Err(SourceError::read(&directory.path.join(&entry.name), errno));
                }
            };
            let is_same = (still.device, still.inode) == entry.identity();
            match links.first(entry) {
                Some((first, at)) if is_copied && is_same => {
                    let first_name = &directories[first].entries[at].name;
                    let first = (&*directories[first].path, &**first_name);
                    self.destination.link(first, (&directory.path, &entry.name))?;
                    self.count(0);
                }
                // The files went different ways since they were listed.
                _ => {
                    let to = self.destination.directory(&directory.path)?;
                    let copier = copier.get_or_insert_with(|| self.copier());
                    self.entry(copier, directory, entry, from.as_fd(), to.as_fd())?;
                }
            }
        }
        Ok(())
    }
}
