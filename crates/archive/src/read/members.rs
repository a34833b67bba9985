//! The members of a tar archive, read from its content.
//!
//! The `tar` crate's own iterator has no bound on the headers that precede a member, and takes no
//! values with line ends; so the blocks are walked here, and the crate reads what is in them.

use bytes::{Buf, Bytes};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::content::Content;
use super::copies::Copies;
use super::member::{Member, MemberKind};
use crate::error::UnpackError;
use crate::flow::control::Control;
use crate::format::extents::{self, Extents, MAX_LIST};
use crate::format::header::{BLOCK, MAX_EXTENSION};
use crate::format::numeric::{self, check_sum};
use crate::format::pax;
use crate::format::records::{Records, Sparse, merged, sole_comment};
use crate::format::seal::{self, Announced, Seal};
use crate::format::trailer::Trailer;
use crate::tree::digest::SmallPieces;
use crate::tree::stat::{Meta, Time};

pub struct Members<'a, 'b> {
    content: &'a mut Content<'b>,
    block: Bytes,
    /// What is left of the current member's data, and what pads it.
    left: u64,
    padding: u64,
    /// What the records say that hold for all members to come.
    global: Records,
    /// Of all headers and lists so far, but what announces the seal.
    headers: SmallPieces,
    /// Whether the first header was read.
    begun: bool,
    announced: Option<Announced>,
    seal: Option<Seal>,
}

/// What the headers in front of a member say about it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// Of a PAX header.
    records: Vec<u8>,
}

impl<'a, 'b> Members<'a, 'b> {
    pub fn new(content: &'a mut Content<'b>) -> Self {
        Self {
            content,
            block: Bytes::new(),
            left: 0,
            padding: 0,
            global: Records::default(),
            headers: SmallPieces::default(),
            begun: false,
            announced: None,
            seal: None,
        }
    }

    /// What the trailer says of the tree, after the last member.
    pub fn trailer(&self) -> Option<Trailer> {
        self.content.trailer
    }

    /// The same of the seal. Fails if the archive announced more than it has.
    pub fn seal(&self) -> Result<Option<Seal>, UnpackError> {
        match self.announced {
            Some(_) if self.seal.is_none() => Err(UnpackError::ends_early()),
            Some(Announced { with_trailer: true }) if self.content.trailer.is_none() => {
                Err(UnpackError::ends_early())
            }
            _ => Ok(self.seal),
        }
    }

    /// The hash over all headers, as a [`Seal`] has it.
    pub fn headers(&self) -> [u8; 32] {
        self.headers.finish()
    }

    /// Counts what is made of the archive and takes no space in it.
    pub fn charge(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.content.charge(bytes)
    }

    /// Stops all threads that work on the archive.
    pub fn control(&self) -> &Control {
        self.content.control
    }

    /// Has something done before every wait for more of the archive.
    pub fn before_wait(&mut self, work: Box<dyn Fn() + Send + 'b>) {
        self.content.before_wait = Some(work);
    }

    /// The next member, `None` at the end of the archive, which has to be marked as such.
    pub fn next(&mut self) -> Result<Option<Member>, UnpackError> {
        self.skip_data()?;
        let mut extensions = Extensions::default();
        loop {
            let mut block = [0; BLOCK];
            self.exact(&mut block)?;
            if block.iter().all(|byte| *byte == 0) {
                self.end()?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header)?;
            let kind = header.entry_type();
            let size = numeric::size(&header.as_old().size)?;
            let is_first = !std::mem::replace(&mut self.begun, true);
            if is_first && kind == EntryType::XGlobalHeader {
                self.first(&block, size)?;
                continue;
            }
            self.headers.update(&block);
            match kind {
                EntryType::XGlobalHeader => {
                    let data = self.hashed_extension(size)?;
                    self.global.take_all_global(&data)?;
                }
                EntryType::XHeader => extensions.records = self.hashed_extension(size)?,
                EntryType::GNULongName => extensions.path = Some(self.name(size)?),
                EntryType::GNULongLink => extensions.link = Some(self.name(size)?),
                // The label of a volume of tapes.
                kind if kind.as_byte() == b'V' => self.set_data(size)?,
                _ => return self.member(header, size, extensions).map(Some),
            }
            self.skip_data()?;
        }
    }

    /// The next piece of the current member's data; empty at its end.
    pub fn data(&mut self) -> Result<Bytes, UnpackError> {
        self.data_of(usize::MAX)
    }

    /// All data of the current member, which are this many bytes. What is in several blocks is copied: a
    /// block that is kept here while the next one is waited for would keep memory from it.
    pub fn whole(&mut self, bytes: usize, copies: &Copies) -> Result<Vec<Bytes>, UnpackError> {
        let first = self.data()?;
        if self.left == 0 {
            return Ok(vec![first]);
        }
        let mut whole = Vec::with_capacity(bytes);
        whole.extend_from_slice(&first);
        drop(first);
        loop {
            let data = self.data()?;
            if data.is_empty() {
                return Ok(vec![copies.add(whole)]);
            }
            whole.extend_from_slice(&data);
        }
    }

    /// The same as [`data`](Self::data), of at most this many bytes.
    pub fn data_of(&mut self, most: usize) -> Result<Bytes, UnpackError> {
        if self.left == 0 {
            return Ok(Bytes::new());
        }
        self.fill()?;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let now = left.min(most).min(self.block.len());
        self.left -= now as u64;
        Ok(self.block.split_to(now))
    }

    fn member(
        &mut self,
        header: &Header,
        mut size: u64,
        extensions: Extensions,
    ) -> Result<Member, UnpackError> {
        let Extensions { path: path_of_gnu, link, records } = extensions;
        let mut found = Records::default();
        found.take_all(&records)?;
        let global = &self.global;
        size = found.size.or(global.size).unwrap_or(size);
        let path = found.sparse.name.take().or(found.path.take());
        let path = path.or_else(|| global.path.clone()).or(path_of_gnu);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let mut link = match header.entry_type() {
            EntryType::Symlink | EntryType::Link => {
                let short = || header.link_name_bytes().map(|name| name.into_owned());
                let link = found.link.take().or_else(|| global.link.clone()).or(link);
                link.or_else(short).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let xattrs = merged(&global.xattrs, std::mem::take(&mut found.xattrs))?;
        let meta = Meta {
            mode: numeric::mode(&header.as_old().mode)?,
            uid: match found.uid.or(global.uid) {
                Some(uid) => uid,
                None => numeric::id(&header.as_old().uid)?,
            },
            gid: match found.gid.or(global.gid) {
                Some(gid) => gid,
                None => numeric::id(&header.as_old().gid)?,
            },
            mtime: match found.mtime.or(global.mtime) {
                Some(mtime) => mtime,
                None => Time { seconds: numeric::seconds(&header.as_old().mtime)?, nanos: 0 },
            },
        };
        self.set_data(size)?;
        let kind = match header.entry_type() {
            // Before POSIX there was no type for directories.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                MemberKind::Directory
            }
            EntryType::Regular | EntryType::Continuous => match self.new_sparse(found.sparse)? {
                Some((real, extents)) => MemberKind::File(real, Some(extents)),
                None => MemberKind::File(size, None),
            },
            EntryType::GNUSparse => {
                let (real, extents) = self.old_sparse(header)?;
                MemberKind::File(real, Some(extents))
            }
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink(std::mem::take(&mut link)),
            EntryType::Link => MemberKind::Hardlink(std::mem::take(&mut link)),
            EntryType::Fifo => MemberKind::Fifo,
            EntryType::Char | EntryType::Block => MemberKind::Device,
            other => {
                let kind = other.as_byte().escape_ascii();
                return Err(UnpackError::Unsupported(format!(
                    "it has a member of type `{kind}`, pack it again without that"
                )));
            }
        };
        if let MemberKind::File(real, Some(extents)) = &kind
            && extents::stored(extents, *real) != Some(self.left)
        {
            return Err(UnpackError::malformed("the list of a sparse file"));
        }
        Ok(Member { path, kind, meta, xattrs })
    }

    /// The list of a sparse file in GNU's own format.
    fn old_sparse(&mut self, header: &Header) -> Result<(u64, Extents), UnpackError> {
        let gnu = header.as_gnu().ok_or_else(|| UnpackError::malformed("a sparse file"))?;
        let mut extents = Extents::new();
        let mut add = |parts: &[GnuSparseHeader]| {
            for part in parts.iter().filter(|part| !part.is_empty()) {
                let (offset, length) =
                    (numeric::size(&part.offset)?, numeric::size(&part.numbytes)?);
                if length > 0 {
                    extents.push((offset, length));
                }
            }
            Ok::<_, UnpackError>(extents.len())
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            // These blocks are not part of the member's size.
            let mut extension = GnuExtSparseHeader::new();
            self.exact(extension.as_mut_bytes())?;
            self.headers.update(extension.as_bytes());
            if add(extension.sparse())? > MAX_LIST / 16 {
                return Err(list_too_long());
            }
            more = extension.is_extended();
        }
        Ok((numeric::size(&gnu.realsize)?, extents))
    }

    /// The real size and where the data belongs, in one of the formats that use PAX records.
    fn new_sparse(&mut self, sparse: Sparse) -> Result<Option<(u64, Extents)>, UnpackError> {
        let Sparse { version_1, size, mut extents, listed, .. } = sparse;
        let Some(size) = size.filter(|_| version_1 || listed) else { return Ok(None) };
        if version_1 {
            let mut used = 0;
            let count = self.listed(&mut used)?;
            for _ in 0..count {
                let (offset, length) = (self.listed(&mut used)?, self.listed(&mut used)?);
                extents.push((offset, length));
            }
            let mut padding = [0; BLOCK];
            let padding = &mut padding[..used.next_multiple_of(BLOCK) - used];
            let left = self.left.checked_sub(padding.len() as u64);
            self.left = left.ok_or_else(|| UnpackError::malformed("the list of a sparse file"))?;
            self.exact(padding)?;
            self.headers.update(padding);
        }
        extents.retain(|(_, length)| *length > 0);
        Ok(Some((size, extents)))
    }

    /// A number of the list that precedes a sparse file's data, on a line of its own.
    fn listed(&mut self, used: &mut usize) -> Result<u64, UnpackError> {
        let mut digits = Vec::with_capacity(20);
        loop {
            self.fill()?;
            if self.left == 0 || digits.len() > 20 {
                return Err(UnpackError::malformed("the list of a sparse file"));
            }
            if *used > MAX_LIST {
                return Err(list_too_long());
            }
            let byte = self.block.get_u8();
            self.left -= 1;
            *used += 1;
            match byte {
                b'\n' => break,
                byte => digits.push(byte),
            }
        }
        self.headers.update(&digits);
        self.headers.update(b"\n");
        pax::number(&digits).ok_or_else(|| UnpackError::malformed("the list of a sparse file"))
    }

    fn name(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let mut name = self.hashed_extension(size)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// The data of a header in front of a member, and what pads it to whole blocks.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        if size > MAX_EXTENSION {
            return Err(UnpackError::Unsupported(format!(
                "a header has {size} bytes, pack it again with shorter names or fewer attributes, \
                 so that none has more than {MAX_EXTENSION}"
            )));
        }
        let size = size as usize;
        let padded = size.next_multiple_of(BLOCK);
        // Memory grows with what arrives, not with what is announced.
        let mut data = Vec::with_capacity(padded.min(16 << 10));
        while data.len() < padded {
            self.fill()?;
            let now = self.block.len().min(padded - data.len());
            data.extend_from_slice(&self.block[..now]);
            self.block.advance(now);
        }
        Ok(data)
    }

    /// The same without the padding, as a part of what is hashed.
    fn hashed_extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let mut data = self.extension(size)?;
        self.headers.update(&data);
        data.truncate(size as usize);
        Ok(data)
    }

    /// Takes note of what the first header of an archive says, which holds for all members. An
    /// announcement of the seal is the only header that the seal does not cover.
    fn first(&mut self, header: &[u8], size: u64) -> Result<(), UnpackError> {
        let data = self.extension(size)?;
        let records = &data[..size as usize];
        if let Some(comment) = sole_comment(records) {
            self.announced = Announced::of(comment)?;
        }
        if self.announced.is_none() {
            self.headers.update(header);
            self.headers.update(&data);
        }
        self.global.take_all_global(records)
    }

    fn set_data(&mut self, size: u64) -> Result<(), UnpackError> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        self.padding = padded.ok_or_else(|| UnpackError::malformed("a size"))? - size;
        self.left = size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), UnpackError> {
        while self.left > 0 {
            self.data()?;
        }
        self.left = std::mem::take(&mut self.padding);
        while self.left > 0 {
            self.data()?;
        }
        Ok(())
    }

    /// Reads what follows the first block of zeros: another one, the seal, and more zeros.
    fn end(&mut self) -> Result<(), UnpackError> {
        let mut zeros = 1;
        while let Some(block) = self.rest()? {
            if block.iter().all(|byte| *byte == 0) {
                zeros += 1;
                continue;
            }
            let header = Header::from_byte_slice(&block);
            if check_sum(header).is_err() {
                return Err(UnpackError::Corrupt("something else follows its end".to_owned()));
            }
            let is_global = header.entry_type() == EntryType::XGlobalHeader;
            if zeros >= 2 && self.seal.is_none() && is_global {
                let size = numeric::size(&header.as_old().size)?;
                let data = self.extension(size)?;
                if let Some(comment) = sole_comment(&data[..size as usize]) {
                    self.seal = Seal::of(comment)?;
                    if self.seal.is_some() {
                        continue;
                    }
                    if seal::is_seal(comment) {
                        return Err(UnpackError::malformed("its seal"));
                    }
                }
            }
            return Err(UnpackError::Unsupported(
                "a second tar archive follows its end, make one of both".to_owned(),
            ));
        }
        Ok(())
    }

    /// The next block of what is left, filled up with zeros at its end.
    fn rest(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        let mut done = 0;
        while done < BLOCK {
            if self.block.is_empty() {
                self.block = Bytes::new();
                match self.content.next()? {
                    Some(next) => self.block = next,
                    None if done == 0 => return Ok(None),
                    None => break,
                }
            }
            let now = self.block.len().min(BLOCK - done);
            self.block.copy_to_slice(&mut block[done..done + now]);
            done += now;
        }
        Ok(Some(block))
    }

    fn exact(&mut self, into: &mut [u8]) -> Result<(), UnpackError> {
        let mut done = 0;
        while done < into.len() {
            self.fill()?;
            let now = self.block.len().min(into.len() - done);
            self.block.copy_to_slice(&mut into[done..done + now]);
            done += now;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), UnpackError> {
        if self.block.is_empty() {
            // An empty block still holds the memory that it was a part of.
            self.block = Bytes::new();
            self.block = self.content.next()?.ok_or_else(UnpackError::ends_early)?;
        }
        Ok(())
    }
}

fn list_too_long() -> UnpackError {
    UnpackError::Unsupported(format!(
        "the list of a sparse file has more than {MAX_LIST} bytes, pack it again without `--sparse`"
    ))
}
