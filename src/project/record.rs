//! Which entries of a directory for artifacts are ours.
//!
//! An artifact replaces an older one of its name, and nothing that somebody else has put there. So a file in
//! the directory, or for `--output` in the state directory, names each artifact with what tells it from any other
//! file: its device, its inode and the time when it was made. An entry is ours if all of them are the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde::{Deserialize, Serialize};

/// The file, which only programs look at.
const RECORD: &str = ".ci-artifacts";

/// The next one while it is written. What is there was left by a process that was killed.
const NEW_RECORD: &str = ".ci-artifacts.new";

/// The most that is read of it, in bytes.
const LARGEST: u64 = 64 << 20;

/// The artifacts by their names. While one takes the place of another, its name has both.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record(BTreeMap<String, Vec<Identity>>);

/// What tells a file or a directory from any other one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    device: (u32, u32),
    inode: u64,
    /// In seconds and nanoseconds; zero where the file system does not keep it.
    made: (i64, u32),
}

impl Identity {
    /// Of what is at a path. A link is not followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            made: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        })
    }
}

impl Record {
    /// What the directory's record says. Without one that can be read, nothing is ours.
    pub fn read(artifacts: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match options.open(artifacts.join(RECORD)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(Self::default());
        }
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// Whether this is an artifact that was recorded under the name.
    pub fn has(&self, name: &str, identity: &Identity) -> bool {
        self.0.get(name).is_some_and(|known| known.contains(identity))
    }

    /// Records an artifact that is about to take its place, beside the one that is there.
    pub fn add(&mut self, name: &str, identity: Identity) {
        self.0.entry(name.to_owned()).or_default().push(identity);
    }

    /// Records that nothing else has the name any more.
    pub fn keep(&mut self, name: &str, identity: Identity) {
        self.0.insert(name.to_owned(), vec![identity]);
    }

    /// Writes the record by way of a new file beside it. Who writes has its turn.
    pub fn write(&self, artifacts: &Path) -> io::Result<()> {
        let new = artifacts.join(NEW_RECORD);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&new)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        fs::rename(new, artifacts.join(RECORD))
    }
}
