//! From an archive to a plain one, for somebody else to unpack.
//!
//! It is for trees that this process has no directory of. What is passed on obeys the same rules as
//! what [`unpack`](crate::unpack) makes, so whoever unpacks it needs to know none of them.

use bytes::Bytes;

use super::layout::{Accepted, AcceptedKind, Layout};
use crate::compression::Compression;
use crate::error::UnpackError;
use crate::flow::control::{Control, Stage};
use crate::format::extents;
use crate::format::header::{self, BLOCK, Entry, Kind};
use crate::options::UnpackOptions;
use crate::path::shown;
use crate::read::decompress::stream;
use crate::read::member::Member;
use crate::read::members::Members;
use crate::read::pass::pass;
use crate::stream::Sink;
use crate::stream::Source;
use crate::tree::stat::Meta;
use crate::tree::xattr::Xattr;
use crate::unpacked::Unpacked;

/// The permissions of a directory that the archive does not describe.
const IMPLIED: u32 = 0o755;

/// What is handed on at once, in bytes, unless it is in one piece already.
const CHUNK: usize = 256 << 10;

/// Checks an archive and hands it on as an uncompressed tar.
///
/// After an error a part has been handed on, which is to be thrown away.
pub fn validate(
    source: &mut dyn Source,
    compression: Compression,
    options: &UnpackOptions,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Unpacked, UnpackError> {
    stream(source, compression, options, control, |content| {
        let mut members = Members::new(content);
        let mut validate = Validator::new(sink, options, control);
        while let Some(member) = members.next()? {
            validate.add(member, &mut members)?;
        }
        let validated = validate.finish(&mut members)?;
        Ok(Unpacked { compressed_bytes: content.read(), ..validated })
    })
}

struct Validator<'a> {
    out: Plain<'a>,
    layout: Layout<'a>,
    header: Vec<u8>,
}

impl<'a> Validator<'a> {
    fn new(sink: &'a mut dyn Sink, options: &'a UnpackOptions, control: &'a Control) -> Self {
        Self {
            out: Plain { sink, control, buffer: Vec::with_capacity(CHUNK) },
            layout: Layout::new(options),
            header: Vec::new(),
        }
    }

    fn add(&mut self, member: Member, members: &mut Members<'_, '_>) -> Result<(), UnpackError> {
        let Some(entry) = self.layout.accept(member, members)? else { return Ok(()) };
        let Accepted { path, kind, meta, xattrs, above, .. } = entry;
        for directory in above {
            let implied = Meta { mode: IMPLIED, uid: 0, gid: 0, mtime: meta.mtime };
            self.header(&directory, Kind::Directory, implied, &[])?;
        }
        match kind {
            AcceptedKind::Directory { .. } => self.header(&path, Kind::Directory, meta, &xattrs),
            AcceptedKind::Symlink(target) => {
                self.header(&path, Kind::Symlink(&target), meta, &xattrs)
            }
            AcceptedKind::Hardlink(target) => {
                self.header(&path, Kind::Hardlink(&target), meta, &[])
            }
            AcceptedKind::File { number, size, extents } => {
                match &extents {
                    None => self.header(&path, Kind::File(size), meta, &xattrs)?,
                    Some(parts) => {
                        let list = extents::encode(parts, size);
                        let kind = Kind::Sparse(size, parts, list.len() as u64);
                        self.header(&path, kind, meta, &xattrs)?;
                        self.out.write(&list)?;
                    }
                }
                let mut write = |data| self.out.hand_on(data);
                let passed = pass(members, size, extents.as_deref(), &mut write)?;
                let padding = passed.stored.next_multiple_of(BLOCK as u64) - passed.stored;
                self.out.write(&[0; BLOCK][..padding as usize])?;
                self.layout.tally.content(number, passed.hash);
                Ok(())
            }
        }
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: Kind<'_>,
        meta: Meta,
        xattrs: &[Xattr],
    ) -> Result<(), UnpackError> {
        self.header.clear();
        header::write(&Entry { path, kind, meta, xattrs }, &mut self.header).map_err(|reason| {
            UnpackError::Unsupported(format!("`{}` cannot be handed on: {reason}", shown(path)))
        })?;
        self.out.write(&self.header)
    }

    fn finish(mut self, members: &mut Members<'_, '_>) -> Result<Unpacked, UnpackError> {
        let validated = self.layout.finish(members)?;
        let mut end = Vec::new();
        header::end(&mut end);
        self.out.write(&end)?;
        self.out.flush()?;
        Ok(validated)
    }
}

/// The archive that is handed on.
struct Plain<'a> {
    sink: &'a mut dyn Sink,
    control: &'a Control,
    buffer: Vec<u8>,
}

impl Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn hand_on(&mut self, bytes: Bytes) -> Result<(), UnpackError> {
        if bytes.len() < CHUNK {
            return self.write(&bytes);
        }
        self.flush()?;
        self.send(bytes)
    }

    fn flush(&mut self) -> Result<(), UnpackError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.send(full.into())
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), UnpackError> {
        let _writing = self.control.enter(Stage::Write);
        self.sink.write(bytes).map_err(UnpackError::Sink)
    }
}
