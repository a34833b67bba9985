//! The members of a tar archive, read from its content.
//!
//! The `tar` crate's own iterator has no bound on the headers that precede a member, and takes no
//! values with line ends; so the blocks are walked here, and the crate reads what is in them.

use bytes::{Buf, Bytes};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::control::Control;
use super::copies::Copies;
use super::decompress::{Content, ends_early};
use super::digest::SmallPieces;
use super::extents::{self, Extents};
use super::header::{BLOCK, time};
use super::numeric::{self, check_sum};
use super::pax;
use super::seal::{Announced, Seal};
use super::stat::{Meta, Time};
use super::trailer::Trailer;
use super::unpack::UnpackError;
use super::xattr::{Xattr, is_kept};

/// Most bytes of one header that precedes a member, such as a long name.
const MAX_EXTENSION: u64 = 1 << 20;

/// Most bytes of the list in front of a sparse file's data.
const MAX_LIST: usize = 8 << 20;

pub struct Members<'a, 'b> {
    content: &'a mut Content<'b>,
    block: Bytes,
    /// What is left of the current member's data, and what pads it.
    left: u64,
    padding: u64,
    /// What the records say that hold for all members to come.
    global: Records,
    /// Of all headers and lists so far, but comments.
    headers: SmallPieces,
    announced: Option<Announced>,
    seal: Option<Seal>,
}

/// An entry as the archive describes it; nothing of it has been checked.
#[derive(Debug)]
pub struct Member {
    pub path: Vec<u8>,
    pub kind: MemberKind,
    pub meta: Meta,
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug)]
pub enum MemberKind {
    /// With its size in bytes. For a sparse file also where its data belongs.
    File(u64, Option<Extents>),
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    /// What is neither made nor refused: a pipe.
    Fifo,
    Device,
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
            announced: None,
            seal: None,
        }
    }

    /// What the trailer says of the tree, after the last member.
    pub fn trailer(&self) -> Option<Trailer> {
        self.content.trailer.as_ref().map(|(trailer, _)| *trailer)
    }

    /// The same of the seal. Fails if the archive announced more than it has.
    pub fn seal(&self) -> Result<Option<Seal>, UnpackError> {
        match self.announced {
            Some(_) if self.seal.is_none() => Err(ends_early()),
            Some(Announced { with_trailer: true }) if self.content.trailer.is_none() => {
                Err(ends_early())
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
            if kind == EntryType::XGlobalHeader {
                self.global(size)?;
                continue;
            }
            self.headers.update(&block);
            match kind {
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
        let Extensions { path, link, records } = extensions;
        let mut found = self.global.clone();
        found.take_all(&records)?;
        size = found.size.unwrap_or(size);
        let path = found.sparse.name.take().or(found.path).or(path);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || {
            let short = || header.link_name_bytes().map(|name| name.into_owned());
            found.link.clone().or(link).or_else(short).unwrap_or_default()
        };
        let meta = Meta {
            mode: numeric::mode(&header.as_old().mode)?,
            uid: match found.uid {
                Some(uid) => uid,
                None => numeric::id(&header.as_old().uid)?,
            },
            gid: match found.gid {
                Some(gid) => gid,
                None => numeric::id(&header.as_old().gid)?,
            },
            mtime: match found.mtime {
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
            EntryType::Regular | EntryType::Continuous => match found.sparse.extents(self)? {
                Some((real, extents)) => MemberKind::File(real, Some(extents)),
                None => MemberKind::File(size, None),
            },
            EntryType::GNUSparse => {
                let (real, extents) = self.old_sparse(header)?;
                MemberKind::File(real, Some(extents))
            }
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink(link()),
            EntryType::Link => MemberKind::Hardlink(link()),
            EntryType::Fifo => MemberKind::Fifo,
            EntryType::Char | EntryType::Block => MemberKind::Device,
            other => {
                let kind = other.as_byte().escape_ascii();
                return Err(UnpackError::Corrupt(format!("it has a member of type `{kind}`")));
            }
        };
        if let MemberKind::File(real, Some(extents)) = &kind
            && extents::stored(extents, *real) != Some(self.left)
        {
            return Err(corrupt("the list of a sparse file"));
        }
        Ok(Member { path, kind, meta, xattrs: found.xattrs })
    }

    /// The list of a sparse file in GNU's own format.
    fn old_sparse(&mut self, header: &Header) -> Result<(u64, Extents), UnpackError> {
        let gnu = header.as_gnu().ok_or_else(|| corrupt("a sparse file"))?;
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
                return Err(corrupt("the list of a sparse file"));
            }
            more = extension.is_extended();
        }
        Ok((numeric::size(&gnu.realsize)?, extents))
    }

    /// A number of the list that precedes a sparse file's data, on a line of its own.
    fn listed(&mut self, used: &mut usize) -> Result<u64, UnpackError> {
        let mut digits = Vec::with_capacity(20);
        loop {
            self.fill()?;
            if self.left == 0 || *used > MAX_LIST {
                return Err(corrupt("the list of a sparse file"));
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
        pax::number(&digits).ok_or_else(|| corrupt("the list of a sparse file"))
    }

    fn name(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let mut name = self.hashed_extension(size)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        if size > MAX_EXTENSION {
            return Err(UnpackError::Limit(format!(
                "a header has {size} bytes, at most {MAX_EXTENSION} are taken"
            )));
        }
        self.set_data(size)?;
        let mut data = Vec::new();
        while self.left > 0 {
            data.extend_from_slice(&self.data()?);
        }
        Ok(data)
    }

    /// The same with its padding, as a part of what is hashed.
    fn hashed_extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let mut data = self.extension(size)?;
        let length = data.len();
        data.resize(length + std::mem::take(&mut self.padding) as usize, 0);
        self.exact(&mut data[length..])?;
        self.headers.update(&data);
        data.truncate(length);
        Ok(data)
    }

    /// Takes note of records that hold for all members to come, and of what this program says.
    fn global(&mut self, size: u64) -> Result<(), UnpackError> {
        let data = self.extension(size)?;
        self.skip_data()?;
        let announced = comment(&data).and_then(Announced::of);
        self.announced = self.announced.or(announced);
        self.global.take_all(&data)
    }

    fn set_data(&mut self, size: u64) -> Result<(), UnpackError> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        self.padding = padded.ok_or_else(|| corrupt("a size"))? - size;
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
            let is_comment = header.entry_type() == EntryType::XGlobalHeader;
            if zeros >= 2 && self.seal.is_none() && is_comment {
                let data = self.extension(numeric::size(&header.as_old().size)?)?;
                self.skip_data()?;
                self.seal = comment(&data).and_then(Seal::of);
                if self.seal.is_some() {
                    continue;
                }
            }
            return Err(UnpackError::Corrupt(
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
            self.block = self.content.next()?.ok_or_else(ends_early)?;
        }
        Ok(())
    }
}

/// The records that matter, of all headers in front of a member.
#[derive(Clone, Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<Xattr>,
    sparse: Sparse,
}

/// A sparse file in one of the three formats that use PAX records.
#[derive(Clone, Default)]
struct Sparse {
    version_1: bool,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    extents: Extents,
    listed: bool,
    offset: Option<u64>,
}

impl Records {
    /// Takes all records of a header; later ones count.
    fn take_all(&mut self, data: &[u8]) -> Result<(), UnpackError> {
        for (key, value) in pax::read(data).ok_or_else(|| corrupt("a PAX header"))? {
            self.take(key, value)?;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), UnpackError> {
        let number = || pax::number(value).ok_or_else(|| corrupt("a number in a PAX header"));
        let small = || number().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(small()?),
            b"gid" => self.gid = Some(small()?),
            b"mtime" => {
                self.mtime = Some(time(value).ok_or_else(|| corrupt("a time in a PAX header"))?);
            }
            b"GNU.sparse.major" => self.sparse.version_1 = value == b"1",
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = Some(number()?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take();
                let offset = offset.ok_or_else(|| corrupt("the list of a sparse file"))?;
                self.sparse.extents.push((offset, number()?));
                self.sparse.listed = true;
            }
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|byte| *byte == b',').map(pax::number).collect();
                let numbers = numbers.ok_or_else(|| corrupt("the list of a sparse file"))?;
                self.sparse.extents =
                    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                self.sparse.listed = true;
            }
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                    && is_kept(name)
                    && let Ok(name) = std::ffi::CString::new(name)
                {
                    self.xattrs.retain(|(known, _)| *known != name);
                    self.xattrs.push((name, value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    /// The real size and where the data belongs.
    fn extents(
        &mut self,
        members: &mut Members<'_, '_>,
    ) -> Result<Option<(u64, Extents)>, UnpackError> {
        let Some(size) = self.size.filter(|_| self.version_1 || self.listed) else {
            return Ok(None);
        };
        if self.version_1 {
            let mut used = 0;
            let count = members.listed(&mut used)?;
            for _ in 0..count {
                let (offset, length) = (members.listed(&mut used)?, members.listed(&mut used)?);
                self.extents.push((offset, length));
            }
            let mut padding = [0; BLOCK];
            let padding = &mut padding[..used.next_multiple_of(BLOCK) - used];
            let left = members.left.checked_sub(padding.len() as u64);
            members.left = left.ok_or_else(|| corrupt("the list of a sparse file"))?;
            members.exact(padding)?;
            members.headers.update(padding);
        }
        self.extents.retain(|(_, length)| *length > 0);
        Ok(Some((size, std::mem::take(&mut self.extents))))
    }
}

/// The comment in the data of a PAX header.
fn comment(data: &[u8]) -> Option<&[u8]> {
    let records = pax::read(data)?;
    records.into_iter().find(|(key, _)| *key == b"comment").map(|(_, comment)| comment)
}

pub fn corrupt(what: &str) -> UnpackError {
    UnpackError::Corrupt(format!("{what} is malformed"))
}
