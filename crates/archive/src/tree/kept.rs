//! How much has to be remembered of an archive until its end, by whoever unpacks it.

use super::xattr::{self, Xattr};

/// Memory for directories and links, in bytes.
const MAX_KEPT: u64 = 1 << 30;

/// What each of them takes beyond its path, in bytes, more or less.
const OVERHEAD: usize = 64;

/// Counts what is remembered. An error says that it is too much.
#[derive(Default)]
pub struct Kept {
    bytes: u64,
    /// Of the last hard link.
    target: Vec<u8>,
}

impl Kept {
    pub fn directory(&mut self, path: &[u8], xattrs: &[Xattr]) -> Result<(), String> {
        self.add((path.len() + OVERHEAD) as u64 + xattr::cost(xattrs))
    }

    /// Its path is remembered twice.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), String> {
        self.add((2 * path.len() + target.len() + OVERHEAD) as u64)
    }

    /// The path of a file that gets several names is remembered once for all that follow each other.
    pub fn hardlink(&mut self, target: &[u8]) -> Result<(), String> {
        if self.target == target {
            return Ok(());
        }
        self.target.clear();
        self.target.extend_from_slice(target);
        self.add((target.len() + OVERHEAD) as u64)
    }

    fn add(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes += bytes;
        if self.bytes > MAX_KEPT {
            return Err(format!(
                "its directories and links take more than {MAX_KEPT} bytes of memory"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let long = vec![b'x'; 1 << 20];
        let attribute = (c"user.a".to_owned(), long.clone());
        let most = |add: &dyn Fn(&mut Kept, usize) -> Result<(), String>| {
            let mut kept = Kept::default();
            (0..2000).find(|number| add(&mut kept, *number).is_err())
        };
        assert_eq!(most(&|kept, _| kept.directory(&long, &[])), Some(1023));
        assert_eq!(
            most(&|kept, _| kept.directory(b"d", std::slice::from_ref(&attribute))),
            Some(1023)
        );
        assert_eq!(most(&|kept, _| kept.symlink(&long, &long)), Some(341));
        assert_eq!(most(&|kept, number| kept.hardlink(&long[number % 2..])), Some(1023));
        assert_eq!(most(&|kept, _| kept.hardlink(&long)), None);
    }
}
