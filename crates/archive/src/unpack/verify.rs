//! Reading an archive for nothing but what it says.

use super::layout::{AcceptedKind, Layout};
use crate::compression::Compression;
use crate::error::UnpackError;
use crate::flow::control::Control;
use crate::options::UnpackOptions;
use crate::read::decompress::stream;
use crate::read::members::Members;
use crate::read::pass::pass;
use crate::stream::Source;
use crate::unpacked::Unpacked;

/// Reads all of an archive as [`unpack`](crate::unpack) does, and refuses what that would refuse.
pub fn verify(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    control: &Control,
) -> Result<Unpacked, UnpackError> {
    stream(source, compression, options, control, |content| {
        let mut members = Members::new(content);
        let mut layout = Layout::new(options);
        while let Some(member) = members.next()? {
            let Some(entry) = layout.accept(member, &mut members)? else { continue };
            if let AcceptedKind::File { number, size, extents } = entry.kind {
                let mut nowhere = |_| Ok::<_, UnpackError>(());
                let passed = pass(&mut members, size, extents.as_deref(), &mut nowhere)?;
                layout.tally.content(number, passed.hash);
            }
        }
        let verified = layout.finish(&mut members)?;
        Ok(Unpacked { compressed_bytes: content.read(), ..verified })
    })
}
