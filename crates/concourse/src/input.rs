//! Reads a document, from a file or from the standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use diagnostic::Diagnostic;

/// What messages call the standard input.
pub const STDIN: &str = "standard input";

/// The longest document, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The text of a file. Pipes are files too, as in `--vars-file <(program)`; devices are not.
pub fn read(given: &str, path: &Path) -> Result<String, Vec<Diagnostic>> {
    let file = File::open(path).map_err(|error| cannot_read(given, &error))?;
    let metadata = file.metadata().map_err(|error| cannot_read(given, &error))?;
    let kind = metadata.file_type();
    let device = if kind.is_dir() {
        Some("a directory")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("a device")
    } else {
        None
    };
    if let Some(device) = device {
        return Err(vec![
            Diagnostic::new(format!("`{given}` is {device}"))
                .help("name a YAML file, or `-` for the standard input"),
        ]);
    }
    if metadata.len() > LONGEST {
        return Err(too_long(given, &format!("{} bytes, ", metadata.len())));
    }
    text(given, file)
}

/// The text that comes on the standard input.
pub fn read_stdin() -> Result<String, Vec<Diagnostic>> {
    text(STDIN, io::stdin())
}

fn text(given: &str, reader: impl Read) -> Result<String, Vec<Diagnostic>> {
    let mut bytes = Vec::new();
    reader.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| cannot_read(given, &error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(too_long(given, ""));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        vec![Diagnostic::new(format!("`{given}` is not UTF-8 in line {line}"))]
    })
}

fn cannot_read(given: &str, error: &io::Error) -> Vec<Diagnostic> {
    vec![Diagnostic::new(format!("cannot read `{given}`: {error}"))]
}

fn too_long(given: &str, size: &str) -> Vec<Diagnostic> {
    vec![
        Diagnostic::new(format!("`{given}` has {size}more than {LONGEST} bytes"))
            .help("keep data out of the pipeline's file: a task can read it"),
    ]
}
