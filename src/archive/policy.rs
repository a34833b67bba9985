//! What no archive may hold, whether it is made or unpacked.

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

fn outside(target: &[u8]) -> String {
    format!(
        "it links to `{}`, outside of the volume; allow that with `cache_outside_links=keep`",
        shown(target)
    )
}
