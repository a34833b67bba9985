//! Which archives go first when a store has to be smaller.

use crate::object::ObjectInfo;

/// The archives to remove so that the rest has at most `limit` bytes, in the order in which they go.
///
/// One that has more than `limit` bytes by itself goes first, since all others would have to go for it in
/// vain. The others follow by their last use, the oldest first. Of those for which `is_kept` holds, none goes
/// but for the first reason, so that the rest may be larger than `limit`.
pub fn least_recently_used(
    archives: &[ObjectInfo],
    limit: u64,
    is_kept: impl Fn(&ObjectInfo) -> bool,
) -> Vec<&ObjectInfo> {
    let (mut going, mut rest): (Vec<_>, Vec<_>) =
        archives.iter().partition(|archive| archive.size > limit);
    let mut left: u64 = rest.iter().map(|archive| archive.size).sum();
    rest.retain(|archive| !is_kept(archive));
    rest.sort_by(|a, b| a.last_used().cmp(&b.last_used()).then_with(|| a.key.cmp(&b.key)));
    for archive in rest {
        if left <= limit {
            break;
        }
        left -= archive.size;
        going.push(archive);
    }
    going
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::object::Metadata;

    /// Key, size, when it was written and when it was last used, in seconds.
    fn archive((key, size, written, used): (&str, u64, u64, Option<u64>)) -> ObjectInfo {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        ObjectInfo {
            key: key.parse().unwrap(),
            size,
            modified: at(written),
            used: used.map(at),
            etag: String::new(),
            metadata: Metadata::default(),
        }
    }

    #[test]
    fn the_oldest_use_goes_first_and_no_more_than_has_to() {
        let archives = [
            ("read.tar", 10, 1, Some(9)),
            ("old.tar", 10, 2, Some(2)),
            ("older.tar", 10, 1, None),
            ("new.tar", 10, 8, Some(8)),
        ]
        .map(archive);
        let table: [(u64, &[&str], &[&str]); 7] = [
            (40, &[], &[]),
            (39, &[], &["older.tar"]),
            (30, &[], &["older.tar"]),
            (15, &[], &["older.tar", "old.tar", "new.tar"]),
            (15, &["old.tar"], &["older.tar", "new.tar", "read.tar"]),
            (15, &["old.tar", "new.tar"], &["older.tar", "read.tar"]),
            // Kept or not, it is too large by itself.
            (9, &["old.tar"], &["read.tar", "old.tar", "older.tar", "new.tar"]),
        ];
        for (limit, kept, expected) in table {
            let is_kept = |archive: &ObjectInfo| kept.contains(&archive.key.as_str());
            let going = least_recently_used(&archives, limit, is_kept);
            let going: Vec<&str> = going.iter().map(|archive| archive.key.as_str()).collect();
            assert_eq!(going, expected, "{limit} {kept:?}");
        }
    }

    #[test]
    fn nothing_goes_for_one_that_is_too_large_by_itself() {
        let archives = [("small.tar", 10, 1, None), ("large.tar", 100, 2, None)].map(archive);
        let going = least_recently_used(&archives, 50, |_| false);
        assert_eq!(going, [&archives[1]]);
    }
}
