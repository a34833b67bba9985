//! Finds packages in `node_modules`, by the rules of Node.js for ES modules.

use std::path::{Path, PathBuf};

use oxc_resolver::{ModuleType, ResolveError, ResolveOptions, Resolver};

use super::loader::{NO_BUILT_INS, Problem, refused};

pub struct Packages(Resolver);

impl Packages {
    pub fn new() -> Self {
        Self(Resolver::new(ResolveOptions {
            builtin_modules: true,
            condition_names: vec!["import".into(), "module".into(), "default".into()],
            extensions: vec![".js".into(), ".mjs".into(), ".json".into()],
            main_fields: vec!["module".into(), "main".into()],
            module_type: true,
            ..ResolveOptions::default()
        }))
    }

    /// The file that a bare name means when a module in `directory` imports it.
    pub fn find(&self, directory: &Path, specifier: &str) -> Result<PathBuf, Problem> {
        let found = self.0.resolve(directory, specifier).map_err(|error| match error {
            ResolveError::Builtin { .. } => refused(specifier, NO_BUILT_INS),
            ResolveError::NotFound(_) => refused(
                specifier,
                &format!(
                    "there is no such package in a `node_modules` of `{}` or above it",
                    super::error::relative(directory)
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
                    let manifest = std::fs::read(package.path()).ok()?;
                    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
                    let entry = package.path().parent()?.join(manifest.get("module")?.as_str()?);
                    Some(entry.canonicalize().ok()? == path)
                })
                .unwrap_or_else(|| path.extension().is_some_and(|end| end == "ts")),
            Some(_) => true,
        };
        if is_module { Ok(path) } else { Err(refused(specifier, "it is a CommonJS package")) }
    }
}
