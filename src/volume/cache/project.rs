//! Which project an archive is of.

use super::VolumeCache;
use crate::volume::VolumeName;
use store::{ObjectInfo, printable};

impl VolumeCache {
    /// Tells the user if the archive that a volume was restored from says that another project wrote it. Archives
    /// of earlier versions and of other programs say nothing.
    pub(super) fn compare_projects(&self, volume: &VolumeName, archive: Option<&ObjectInfo>) {
        let theirs = archive.and_then(|archive| archive.metadata.project.as_deref());
        let (Some(ours), Some(theirs)) = (self.project.as_deref(), theirs) else { return };
        if ours != theirs {
            self.events.warning(format!(
                "volume `{volume}` was restored from an archive of the project `{}`, and this is `{}`, \
                 give each of them a `cache_prefix`",
                printable(theirs),
                printable(ours)
            ));
        }
    }
}
