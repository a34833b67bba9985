//! Secrets for other programs, in files that never reach a disk.
//!
//! The file is memory of this process and goes with it, however it ends. Programs that it starts open the file by its
//! path in `/proc`, which nobody but the same user can.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

use crate::error::ResourceError;

pub struct MemoryFile {
    /// Keeps the path valid.
    _file: File,
    path: String,
}

impl MemoryFile {
    /// One that its user alone may read, as ssh demands of private keys.
    pub fn new(content: &[u8]) -> Result<Self, ResourceError> {
        Self::with_mode(content, Mode::RUSR | Mode::WUSR)
    }

    /// One that is a program.
    pub fn program(content: &[u8]) -> Result<Self, ResourceError> {
        Self::with_mode(content, Mode::RWXU)
    }

    fn with_mode(content: &[u8], mode: Mode) -> Result<Self, ResourceError> {
        let failed = |error: std::io::Error| {
            ResourceError::failed(format!("cannot keep a secret in a file in memory: {error}"))
        };
        let fd = memfd_create("ci-resource", MemfdFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        fchmod(&fd, mode).map_err(|error| failed(error.into()))?;
        let mut file = File::from(fd);
        file.write_all(content).map_err(failed)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Ok(Self { _file: file, path })
    }

    pub fn path(&self) -> &str {
        &self.path
    }
}
