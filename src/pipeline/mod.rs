//! From what the user names on the command line to a pipeline that can be run.

mod built_in;
pub mod project;
mod transpile;

use std::path::{Path, PathBuf};

use concourse::{Document, STDIN};
use diagnostic::Diagnostic;

pub use built_in::check as check_built_in;
pub use transpile::transpile;

/// A pipeline's file, before anybody has read it.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user wrote it.
    pub given: String,
    /// Absolute, without symbolic links.
    pub file: PathBuf,
    pub language: Language,
}

/// What a pipeline is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// TypeScript or JavaScript.
    Script,
    Yaml,
}

/// What the engine runs.
#[derive(Clone, Debug)]
pub enum Program {
    /// A module, by the absolute path of its file.
    Module(PathBuf),
    /// A checked plan, as JSON.
    Plan(String),
}

/// Checks that the file is one that can hold a pipeline. `-` is a YAML pipeline on the standard input.
pub fn locate(given: &Path) -> Result<Source, Box<Diagnostic>> {
    if given.as_os_str() == STDIN {
        let directory = std::env::current_dir().map_err(|error| {
            Box::new(Diagnostic::new(format!("cannot find the working directory: {error}")))
        })?;
        let file = directory.join(STDIN);
        return Ok(Source { given: STDIN.to_owned(), file, language: Language::Yaml });
    }
    let name = given.display();
    let wrong = |what: String, help: &str| Err(Box::new(Diagnostic::new(what).help(help)));
    let file = given.canonicalize().map_err(|error| {
        Box::new(Diagnostic::new(format!("cannot read the pipeline `{name}`: {error}")))
    })?;
    if file.is_dir() {
        return wrong(
            format!("`{name}` is a directory"),
            "name the pipeline's file, such as `ci run ci/pipeline.ts`",
        );
    }
    if !file.is_file() {
        return wrong(format!("`{name}` is not a regular file"), SUPPORTED);
    }
    let language = match file.extension().and_then(|end| end.to_str()) {
        Some("ts" | "mts" | "js" | "mjs") => Language::Script,
        Some("yml" | "yaml") => Language::Yaml,
        _ if file.file_name().is_some_and(|name| name == "Jenkinsfile") => {
            let help = "write it as a TypeScript or a Concourse-style YAML pipeline";
            return wrong(format!("`{name}` is a pipeline for Jenkins"), help);
        }
        _ => return wrong(format!("`{name}` is not a pipeline"), SUPPORTED),
    };
    Ok(Source { given: name.to_string(), file, language })
}

const SUPPORTED: &str = "pipelines end in .ts, .mts, .js, .mjs, .yml or .yaml";

impl Source {
    /// Whether it comes on the standard input.
    pub fn is_stdin(&self) -> bool {
        self.given == STDIN
    }

    /// What to read, if it is written in YAML.
    pub fn document(&self) -> Document<'_> {
        match self.is_stdin() {
            true => Document::Stdin,
            false => Document::File { given: &self.given, path: &self.file },
        }
    }

    /// A name that is the same for every run of this file, and safe as a file name.
    pub fn id(&self) -> String {
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let stem: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
            .take(40)
            .collect();
        let hash = blake3::hash(self.file.as_os_str().as_encoded_bytes()).to_hex();
        format!("{stem}-{}", &hash[..8])
    }
}
