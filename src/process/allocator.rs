//! The C library's memory allocator.
//!
//! The allocator keeps large blocks once it has seen one freed, and leaves holes between them. Blocks of 4
//! MiB and more are therefore returned to the system at once.

/// Blocks from this size on go back to the system as soon as they are free, in bytes.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 4 << 20;

/// Makes peak memory depend on what is used at one moment, not on how long it goes on.
///
/// By itself the allocator learns from the first large block that is freed to keep such blocks. Parts of
/// downloads and frames of archives, of 8 MiB each and freed by other threads than those that made them,
/// then leave holes that the next ones do not fit into: restoring 4 GiB took a quarter more memory than
/// 1 GiB. The price is that the system clears new pages, which is not to be seen beside a transfer.
///
/// For the start of a process, while it has one thread.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` sets a number of the allocator, which this value is valid for. It must not run
    // beside another thread that uses the allocator, and `main` calls this before there is one.
    unsafe {
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE);
    }
}
