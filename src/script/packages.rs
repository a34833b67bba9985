//! Finds packages in `node_modules`, by the rules of Node.js for ES modules.

use std::io;
use std::path::{Path, PathBuf};

use oxc_resolver::{
    FileMetadata, FileSystem, ModuleType, ResolveError, ResolveOptions, ResolverGeneric,
};

use super::module_problem::{NO_BUILT_INS, Problem, refused};
use super::project::{Project, ReadError};

/// Which of the builds that a package offers is taken: one for a runtime that has neither Node.js'
/// built-ins nor a document. The package decides by its own order which one comes first.
const CONDITIONS: [&str; 5] = ["import", "module", "worker", "browser", "default"];

pub struct Packages {
    project: Project,
    resolver: ResolverGeneric<ProjectFiles>,
}

impl Packages {
    pub fn new(project: Project) -> Self {
        let options = ResolveOptions {
            builtin_modules: true,
            condition_names: CONDITIONS.map(str::to_owned).to_vec(),
            extensions: vec![".js".into(), ".mjs".into(), ".json".into()],
            main_fields: vec!["module".into(), "main".into()],
            module_type: true,
            // The machine's environment must not decide what a pipeline imports.
            node_path: false,
            ..ResolveOptions::default()
        };
        let files = ProjectFiles(Some(project.clone()));
        Self { project, resolver: ResolverGeneric::new_with_file_system(files, options) }
    }

    /// The file that a bare name, or a name of the package's own `imports`, means when a module in
    /// `directory` imports it.
    pub fn find(&self, directory: &Path, specifier: &str) -> Result<PathBuf, Problem> {
        let found = self.resolver.resolve(directory, specifier).map_err(|error| match error {
            ResolveError::Builtin { .. } => refused(specifier, NO_BUILT_INS),
            ResolveError::NotFound(_) if specifier.starts_with('#') => refused(
                specifier,
                "the `imports` of the nearest `package.json` lead to no file of the project",
            ),
            ResolveError::NotFound(_) => refused(
                specifier,
                &format!(
                    "there is no such package in a `node_modules` of `{}` or above it, within the \
                     project",
                    super::shown_path::relative(directory)
                ),
            ),
            error => refused(specifier, &error.to_string()),
        })?;
        let path = found.full_path();
        let is_module = match found.module_type() {
            Some(ModuleType::Module | ModuleType::Json) => true,
            // Bundlers' own field: by its definition it names an ES module.
            Some(ModuleType::CommonJs) | None => found
                .package_json()
                .and_then(|package| {
                    let manifest = self.project.read_bytes(package.path()).ok()?;
                    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
                    let entry = package.path().parent()?.join(manifest.get("module")?.as_str()?);
                    Some(self.project.resolve(&entry).ok()? == path)
                })
                .unwrap_or_else(|| path.extension().is_some_and(|end| end == "ts")),
            Some(_) => true,
        };
        if is_module { Ok(path) } else { Err(refused(specifier, "it is a CommonJS package")) }
    }
}

/// The file system as far as the project reaches. What is outside does not exist.
struct ProjectFiles(Option<Project>);

impl ProjectFiles {
    /// Whether a path is one of the project or leads there.
    fn shows(&self, path: &Path) -> io::Result<()> {
        let project = self.0.as_ref().ok_or_else(missing)?;
        if project.contains(path) || project.is_below(path) { Ok(()) } else { Err(missing()) }
    }

    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.as_ref().ok_or_else(missing)?.resolve(path).map_err(io_error)
    }
}

impl FileSystem for ProjectFiles {
    fn new() -> Self {
        Self(None)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.as_ref().ok_or_else(missing)?.read_bytes(path).map_err(io_error)
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        self.0.as_ref().ok_or_else(missing)?.read(path).map_err(io_error)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        std::fs::metadata(self.real(path)?).map(FileMetadata::from)
    }

    fn symlink_metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.shows(path)?;
        std::fs::symlink_metadata(path).map(FileMetadata::from)
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ResolveError> {
        self.shows(path)?;
        Ok(std::fs::read_link(path)?)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.real(path)
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn io_error(error: ReadError) -> io::Error {
    match error {
        ReadError::Io(error) => error,
        ReadError::Outside { .. } => missing(),
        error => io::Error::other(error.to_string()),
    }
}
