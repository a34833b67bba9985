//! What no archive may hold, whether it is made or unpacked.

use std::collections::HashMap;

use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::OutsideLinks;
use super::path::{goes_up, leads_out, shown};

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Why a file of this mode is refused, if it is: a program that runs with the rights of whoever
/// unpacks it is for root alone to make.
pub fn refused_mode(mode: u32) -> Option<String> {
    let raised = mode & (SETUID | SETGID) != 0;
    (raised && !geteuid().is_root()).then(|| "it is setuid or setgid, which takes root".to_owned())
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
    let mut at: Vec<&[u8]> = Vec::new();
    let parts = |path| -> Vec<&[u8]> { <[u8]>::split(path, |byte| *byte == b'/').rev().collect() };
    let mut rest = parts(path);
    while let Some(part) = rest.pop() {
        match part {
            b"" | b"." => {}
            b".." => {
                if at.pop().is_none() {
                    return Some(outside(target));
                }
            }
            part => {
                at.push(part);
                let Some(next) = links.get(&at.join(&b'/')) else { continue };
                if next.starts_with(b"/") {
                    return Some(outside(target));
                }
                followed += 1;
                if followed > MAX_LINKS {
                    return None;
                }
                at.pop();
                rest.extend(parts(next));
            }
        }
    }
    None
}

fn outside(target: &[u8]) -> String {
    format!(
        "it links to `{}`, outside of the volume; allow that with `cache_outside_links=keep`",
        shown(target)
    )
}
