//! One side of a terminal, as a file that does not block.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;

use crate::driver::WindowSize;

pub struct TerminalFile(AsyncFd<File>);

impl TerminalFile {
    /// Reading and writing must not wait where they could, by the file's own flags.
    pub fn new(file: File) -> io::Result<Self> {
        // SAFETY: a `File` owns its descriptor, which stays open and the same until it is dropped; here
        // nobody can replace it meanwhile.
        Ok(Self(unsafe { AsyncFd::register(file) }?))
    }

    /// What comes next, which is something. An error when the other side is gone.
    pub async fn read(&self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(read) = ready.try_io(|file| read(file.get_ref())) {
                return read;
            }
        }
    }

    /// What is there already.
    pub fn read_now(&self) -> io::Result<Vec<u8>> {
        read(self.0.get_ref())
    }

    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            if let Ok(written) = ready.try_io(|file| file.get_ref().write(bytes)) {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }

    /// A terminal without a size has none of either.
    pub fn size(&self) -> WindowSize {
        let size = tcgetwinsize(self.0.get_ref()).map(|size| (size.ws_row, size.ws_col));
        let (rows, columns) = size.unwrap_or_default();
        WindowSize { rows, columns }
    }

    pub fn resize(&self, WindowSize { rows, columns }: WindowSize) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.0.get_ref(), size)?)
    }
}

fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    match file.read(&mut buffer)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        read => {
            buffer.truncate(read);
            Ok(buffer)
        }
    }
}
