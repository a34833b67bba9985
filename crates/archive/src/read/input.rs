//! A compressed archive on its way from its source.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use crate::error::UnpackError;
use crate::flow::control::{Control, Stage};
use crate::stream::Source;

/// The source as bytes.
pub struct Input<'a> {
    pub source: &'a mut dyn Source,
    pub chunk: Bytes,
    pub read: &'a AtomicU64,
    pub ended: bool,
    /// Why [`BufRead`] failed.
    pub failed: Option<UnpackError>,
    pub control: &'a Control,
    pub stage: Stage,
}

impl Input<'_> {
    /// Makes `chunk` hold something; returns whether there is anything.
    pub fn fill(&mut self) -> Result<bool, UnpackError> {
        while self.chunk.is_empty() && !self.ended {
            self.control.check()?;
            let waiting = self.control.enter(self.stage);
            let next = self.source.next().map_err(UnpackError::Source)?;
            drop(waiting);
            match next {
                Some(chunk) => {
                    self.read.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    self.chunk = chunk;
                }
                None => self.ended = true,
            }
        }
        Ok(!self.chunk.is_empty())
    }

    /// Appends exactly this many bytes. Memory grows with what arrives, not with what is announced.
    pub fn exact(&mut self, mut count: usize, into: &mut Vec<u8>) -> Result<(), UnpackError> {
        while count > 0 {
            if !self.fill()? {
                return Err(UnpackError::ends_early());
            }
            let now = count.min(self.chunk.len());
            into.extend_from_slice(&self.chunk[..now]);
            self.chunk.advance(now);
            count -= now;
        }
        Ok(())
    }

    pub fn skip(&mut self, mut count: u64) -> Result<(), UnpackError> {
        while count > 0 {
            if !self.fill()? {
                return Err(UnpackError::ends_early());
            }
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(self.chunk.len());
            self.chunk.advance(now);
            count -= now as u64;
        }
        Ok(())
    }

    pub fn number(&mut self) -> Result<u32, UnpackError> {
        let mut bytes = Vec::with_capacity(4);
        self.exact(4, &mut bytes)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let now = {
            let available = self.fill_buf()?;
            let now = available.len().min(into.len());
            into[..now].copy_from_slice(&available[..now]);
            now
        };
        self.consume(now);
        Ok(now)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.fill() {
            Ok(_) => Ok(&self.chunk),
            Err(error) => {
                let shown = io::Error::other(error.to_string());
                self.failed = Some(error);
                Err(shown)
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}
