//! What no archive may hold, whether it is made or unpacked.

use std::collections::HashMap;
use std::ffi::CStr;

use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::stat::kind;
use super::xattr::Xattr;
use crate::error::PackError;
use crate::options::{OutsideLinks, Setuid};
use crate::path::{goes_up, leads_out, shown};

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// The mode that is kept of an entry's, whether it is packed or unpacked. An error says why there is
/// none: a program that runs with the rights of whoever unpacks it is for root alone to make.
pub fn kept_mode(setuid: Setuid, is_directory: bool, mode: u32) -> Result<u32, String> {
    let raised = mode & (SETUID | SETGID) != 0;
    match setuid {
        Setuid::Drop => Ok(mode & !(SETUID | SETGID)),
        Setuid::Keep if raised && !is_directory && !geteuid().is_root() => Err("it is setuid or \
             setgid, which takes root; without `cache_setuid=keep` the bit is dropped"
            .to_owned()),
        Setuid::Keep => Ok(mode),
    }
}

/// What is packed of a file or directory: the mode is the one that is kept.
pub fn packed(setuid: Setuid, path: &[u8], mut stat: Stat) -> Result<Stat, PackError> {
    let is_directory = kind(&stat) == FileType::Directory;
    stat.st_mode = kept_mode(setuid, is_directory, stat.st_mode)
        .map_err(|reason| PackError::Refused { path: shown(path), reason })?;
    Ok(stat)
}

/// Says that an entry has lost a bit of its mode.
pub fn dropped(path: &[u8]) -> String {
    format!(
        "`{}` is setuid or setgid and has lost that bit, keep it with `cache_setuid=keep`",
        shown(path)
    )
}

/// Capabilities of a file, as powerful as a setuid bit.
const CAPABILITY: &CStr = c"security.capability";

/// Removes what goes with the setuid bit if that is dropped; returns whether there was any.
pub fn drop_capability(setuid: Setuid, xattrs: &mut Vec<Xattr>) -> bool {
    let before = xattrs.len();
    if setuid == Setuid::Drop {
        xattrs.retain(|(name, _)| name.as_c_str() != CAPABILITY);
    }
    xattrs.len() < before
}

/// Says that an entry has lost its capabilities.
pub fn dropped_capability(path: &[u8]) -> String {
    format!("`{}` has lost its capabilities, keep them with `cache_setuid=keep`", shown(path))
}

/// Why a symbolic link is refused, if its text is enough to tell.
pub fn refused_link(links: OutsideLinks, path: &[u8], target: &[u8]) -> Option<String> {
    (links == OutsideLinks::Refuse && leads_out(path, target)).then(|| outside(target))
}

/// Why a symbolic link is refused that is there: whether it leads out by way of other links.
pub fn refused_by_way(
    links: OutsideLinks,
    root: BorrowedFd<'_>,
    path: &[u8],
    target: &[u8],
) -> Option<String> {
    if links == OutsideLinks::Keep || !goes_up(target) {
        return None;
    }
    // The kernel follows the link as a program would. A link to nothing, a circle or a path that is too
    // long leads nowhere; before Linux 5.6 the text has to be enough.
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how) {
        Err(Errno::XDEV) => Some(outside(target)),
        _ => None,
    }
}

/// How many links the kernel follows on one way.
const MAX_LINKS: usize = 40;

/// The same for a tree that no kernel can be asked about: `links` has all links of it and their targets.
pub fn outside_by_way(links: &HashMap<Vec<u8>, Vec<u8>>, path: &[u8]) -> Option<String> {
    // Something else may have taken its place.
    let target = links.get(path)?;
    let mut followed = 0;
    // Where the way has got to, and how long that was above each part.
    let (mut at, mut above) = (Vec::new(), Vec::new());
    let parts = |path| -> Vec<&[u8]> { <[u8]>::split(path, |byte| *byte == b'/').rev().collect() };
    let mut rest = parts(path);
    while let Some(part) = rest.pop() {
        match part {
            b"" | b"." => {}
            b".." => match above.pop() {
                Some(length) => at.truncate(length),
                None => return Some(outside(target)),
            },
            part => {
                above.push(at.len());
                if !at.is_empty() {
                    at.push(b'/');
                }
                at.extend_from_slice(part);
                let Some(next) = links.get(&at) else { continue };
                if next.starts_with(b"/") {
                    return Some(outside(target));
                }
                followed += 1;
                if followed > MAX_LINKS {
                    return None;
                }
                at.truncate(above.pop().unwrap_or(0));
                rest.extend(parts(next));
            }
        }
    }
    None
}

fn outside(target: &[u8]) -> String {
    format!(
        "it links to `{}`, outside of the volume; allow that with `--cache-outside-links keep`, which is `cache_outside_links=keep` in a DSN",
        shown(target)
    )
}
