//! What is trusted to tell of changes.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{IFlags, flistxattr, fstatfs, ioctl_getflags};

/// File systems that give a file another time whenever its content changes, also through a mapping, in units
/// below a second: btrfs, bcachefs, ext4, F2FS, overlayfs, XFS. The numbers are those of `linux/magic.h`.
const TELLING: [u32; 6] = [0x9123_683e, 0xca45_1a4e, 0xef53, 0xf2f5_2010, 0x794c_7630, 0x5846_5342];

/// Whether each change of a file below this directory shows in its times.
pub fn tells_changes(directory: impl AsFd) -> bool {
    fstatfs(directory).is_ok_and(|found| {
        // The type of the field differs between architectures; the numbers have 32 bits.
        TELLING.contains(&(found.f_type as u32))
    })
}

/// Whether a directory has nothing but a mode, an owner and times: no access list that would shape what is made
/// in it, and no flag that keeps it from being changed.
pub fn is_plain(directory: &OwnedFd) -> bool {
    let mut names = [0_u8; 4096];
    let has_attributes = match flistxattr(directory, &mut names) {
        Ok(length) => names[..length]
            .split(|byte| *byte == 0)
            .any(|name| !name.is_empty() && !name.starts_with(b"security.selinux")),
        Err(rustix::io::Errno::OPNOTSUPP) => false,
        Err(_) => true,
    };
    let special = IFlags::IMMUTABLE | IFlags::APPEND | IFlags::from_bits_retain(CASEFOLD);
    !has_attributes && ioctl_getflags(directory).is_ok_and(|flags| !flags.intersects(special))
}

/// `FS_CASEFOLD_FL` of `linux/fs.h`: names differ by more than by case.
const CASEFOLD: u32 = 0x4000_0000;
