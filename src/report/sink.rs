//! Where the text goes.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// A writer that is left alone after its first error.
pub struct Sink<W> {
    writer: W,
    error: Option<io::Error>,
    /// Told of it.
    broken: Arc<OnceLock<String>>,
}

impl<W: Write> Sink<W> {
    pub fn new(writer: W, broken: Arc<OnceLock<String>>) -> Self {
        Self { writer, error: None, broken }
    }

    /// Writes and empties the text. After an error it only empties it.
    pub fn write(&mut self, text: &mut Vec<u8>) {
        if self.error.is_none() {
            self.error = self.write_all(text).err();
            if let Some(error) = &self.error {
                _ = self.broken.set(error.to_string());
            }
        }
        text.clear();
    }

    pub fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    fn write_all(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            match self.writer.write(text) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => text = &text[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process that shares the terminal made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error),
            }
        }
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each write with the next of its results.
    struct Answers(Vec<io::Result<usize>>, Vec<u8>);

    impl Write for Answers {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let written = self.0.remove(0)?;
            self.1.extend_from_slice(&text[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_and_interrupted_writes_go_on() {
        let errors = [ErrorKind::Interrupted, ErrorKind::WouldBlock].map(|kind| Err(kind.into()));
        let mut answers = vec![Ok(2)];
        answers.extend(errors);
        answers.push(Ok(1));
        let mut sink = Sink::new(Answers(answers, Vec::new()), Arc::default());
        let mut text = b"abc".to_vec();
        sink.write(&mut text);
        assert!(text.is_empty());
        assert_eq!(sink.writer.1, b"abc");
        assert!(sink.finish().is_ok());
    }

    #[test]
    fn nothing_is_written_after_an_error() {
        let answers = vec![Err(ErrorKind::StorageFull.into())];
        let broken = Arc::<OnceLock<String>>::default();
        let mut sink = Sink::new(Answers(answers, Vec::new()), broken.clone());
        sink.write(&mut b"a".to_vec());
        sink.write(&mut b"b".to_vec());
        assert_eq!(broken.get().map(String::as_str), Some("no storage space"));
        assert_eq!(sink.finish().map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
    }
}
