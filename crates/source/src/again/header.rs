//! What an index as a whole belongs to.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use crate::options::Options;
use crate::project::Project;
use crate::selection::Selection;

/// A hash over everything that decides what an import makes, but for the project's files: which of them are
/// meant, and whom the copies belong to.
pub fn digest(project: &Project, selection: &Selection, options: &Options) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let Selection { path: selected, include, exclude, ignored, git } = selection;
    part(&[geteuid().as_raw(), getegid().as_raw()].map(u32::to_le_bytes).concat());
    part(&path(project.root()));
    part(&[u8::from(selected.is_some()), u8::from(*ignored), u8::from(*git)]);
    part(&selected.as_deref().map(path).unwrap_or_default());
    for globs in [include, exclude] {
        part(&(globs.len() as u64).to_le_bytes());
        globs.iter().for_each(|glob| part(glob.as_bytes()));
    }
    let Options { left_out, global_ignore } = options;
    part(&(left_out.len() as u64).to_le_bytes());
    left_out.iter().for_each(|left_out| part(&path(left_out)));
    part(&[u8::from(global_ignore.is_some())]);
    part(&global_ignore.as_deref().map(path).unwrap_or_default());
    *hasher.finalize().as_bytes()
}

/// What distinguishes this start of the machine from all others.
pub fn boot() -> Option<[u8; 36]> {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    id.trim_ascii().try_into().ok()
}
