//! Finds and reads the modules that a pipeline imports.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use deno_core::error::{CoreError, ModuleLoaderError};
use deno_core::url::Url;
use deno_core::{
    ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader, ModuleSource,
    ModuleSourceCode, ModuleSpecifier, ModuleType, RequestedModuleType, ResolutionKind,
};
use deno_error::JsErrorBox;
use diagnostic::Diagnostic;

use super::error::{place_in, place_of_import};
use super::module_problem::{NO_BUILT_INS, Problem, refused};
use super::packages::Packages;
use super::project::{Project, ReadError};
use super::shown_path::relative;
use super::transpiler::{LARGEST_SOURCE, Refusal, deepest, transpile_safely};
use crate::process::memory::Share;

/// How V8 says that a stack is exhausted.
const NO_STACK: &str = "Maximum call stack size exceeded";

/// The longest string that V8 takes, in bytes: `v8::String::kMaxLength`.
const MAX_SCRIPT: usize = (1 << 29) - 24;

/// Reads modules from the file system, TypeScript transpiled.
pub struct Loader {
    project: Project,
    packages: OnceCell<Packages>,
    source_maps: RefCell<HashMap<String, (Vec<u8>, Share)>>,
    /// The module that was read last, which is the one that V8 compiles next.
    last: RefCell<Option<PathBuf>>,
    /// What made the last load fail, with more than an exception's text can carry, and that text.
    problem: RefCell<Option<(String, Diagnostic)>>,
}

impl Loader {
    pub fn new(project: Project) -> Self {
        Self {
            project,
            packages: OnceCell::new(),
            source_maps: RefCell::default(),
            last: RefCell::default(),
            problem: RefCell::default(),
        }
    }

    pub fn project(&self) -> &Project {
        &self.project
    }

    /// What is behind an error, if that is a module that could not be loaded.
    pub fn problem_behind(&self, error: &CoreError) -> Option<Diagnostic> {
        let error = error.to_string();
        self.problem
            .take()
            .filter(|(message, _)| error.contains(message))
            .map(|(_, diagnostic)| diagnostic)
    }

    /// What is behind an error that says no more than that V8's parser has no stack left.
    pub fn too_deep(&self, error: &CoreError) -> Option<Diagnostic> {
        if !error.to_string().contains(NO_STACK) {
            return None;
        }
        let path = self.last.borrow().clone()?;
        let (line, column) = deepest(&self.project.read(&path).ok()?);
        Some(Diagnostic {
            place: place_in(&self.project, &path, line, column),
            ..Diagnostic::new(format!("syntax error: `{}` is nested too deeply", relative(&path)))
        })
    }

    fn find(&self, specifier: &str, referrer: &str) -> Result<ModuleSpecifier, Problem> {
        if is_relative(specifier) {
            let base = Url::parse(referrer).map_err(|error| Problem::new(error.to_string()))?;
            return base.join(specifier).map_err(|error| Problem::new(error.to_string()));
        }
        // A package's own names may contain a colon.
        let scheme = specifier.split_once(':').filter(|_| !specifier.starts_with('#'));
        if let Some((scheme, _)) = scheme {
            return match scheme {
                "file" => Url::parse(specifier).map_err(|error| Problem::new(error.to_string())),
                "node" => Err(refused(specifier, NO_BUILT_INS)),
                "npm" | "jsr" => Err(refused(
                    specifier,
                    "packages are not downloaded: install it into `node_modules` with your \
                     package manager and import it by its name",
                )),
                "http" | "https" => Err(refused(
                    specifier,
                    "modules are not loaded from the network: keep a copy beside the pipeline",
                )),
                _ => Err(refused(specifier, &format!("`{scheme}:` imports are not supported"))),
            };
        }
        let directory = Url::parse(referrer)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .and_then(|path| path.parent().map(Path::to_owned))
            .ok_or_else(|| refused(specifier, "only files can import packages"))?;
        let path = self
            .packages
            .get_or_init(|| Packages::new(self.project.clone()))
            .find(&directory, specifier)?;
        Url::from_file_path(&path)
            .map_err(|()| Problem::new(format!("`{}` is not an absolute path", path.display())))
    }

    fn read(&self, url: &Url, requested: &RequestedModuleType) -> Result<ModuleSource, Problem> {
        let path = url
            .to_file_path()
            .map_err(|()| Problem::new(format!("`{url}` is not a file of this machine")))?;
        let kind = match Kind::of(&path) {
            Ok(kind) => kind,
            // What is not there has no kind, and may be a misspelling of what is.
            Err(problem) if self.project.is_file(&path) => return Err(problem),
            Err(problem) => return Err(self.source(&path).err().unwrap_or(problem)),
        };
        let source = self.source(&path)?;
        *self.last.borrow_mut() = Some(path.clone());
        let (module_type, code) = match (kind, requested) {
            (Kind::Json, RequestedModuleType::Json) => (ModuleType::Json, source),
            (Kind::Json, _) => {
                return Err(Problem::new(format!("`{}` is JSON", relative(&path)))
                    .help("import it with `with { type: \"json\" }`"));
            }
            (_, RequestedModuleType::None) if kind == Kind::JavaScript => {
                (ModuleType::JavaScript, source)
            }
            (_, RequestedModuleType::None) => (ModuleType::JavaScript, self.strip(url, source)?),
            (..) => {
                return Err(Problem::new(format!(
                    "`{}` is a module; it is imported without attributes",
                    relative(&path)
                )));
            }
        };
        if code.len() > MAX_SCRIPT {
            return Err(Problem::new(format!("`{}` is too large to be compiled", relative(&path)))
                .help("look for values that are nested many thousand levels deep"));
        }
        Ok(ModuleSource::new(module_type, ModuleSourceCode::String(code.into()), url, None))
    }

    fn source(&self, path: &Path) -> Result<String, Problem> {
        self.project.read(path).map_err(|error| {
            let name = relative(path);
            let not_found =
                matches!(&error, ReadError::Io(error) if error.kind() == ErrorKind::NotFound);
            match error {
                ReadError::Outside { .. } => {
                    Problem::new(format!("cannot import `{name}`: {error}")).help(
                        "a pipeline imports files of its project: of the git work tree that holds \
                         it, or else of its own directory; symbolic links are followed first",
                    )
                }
                error => {
                    let problem = Problem::new(format!("cannot read `{name}`: {error}"));
                    match not_found.then(|| self.neighbour(path)).flatten() {
                        Some(name) => problem.help(format!("did you mean `{name}`?")),
                        None => problem,
                    }
                }
            }
        })
    }

    /// The file that somebody meant who left the ending away, or wrote the one that a compiler or
    /// bundler would have made.
    fn neighbour(&self, path: &Path) -> Option<String> {
        let mut candidates: Vec<PathBuf> = Vec::new();
        for end in ["ts", "mts", "js", "mjs", "json"] {
            let mut name = path.file_name()?.to_owned();
            name.push(format!(".{end}"));
            candidates.push(path.with_file_name(name));
            candidates.push(path.with_extension(end));
            candidates.push(path.join(format!("index.{end}")));
        }
        candidates.iter().find(|path| self.project.is_file(path)).map(|path| relative(path))
    }

    fn strip(&self, url: &Url, source: String) -> Result<String, Problem> {
        let path = url.to_file_path().unwrap_or_default();
        if source.len() > LARGEST_SOURCE {
            let shown = |bytes: usize| bytesize::ByteSize(bytes as u64).display().iec();
            return Err(Problem::new(format!(
                "`{}` has {}, and TypeScript may have {}",
                relative(&path),
                shown(source.len()),
                shown(LARGEST_SOURCE)
            ))
            .help(
                "keep data in JSON files, and let the compiler write large modules as JavaScript",
            ));
        }
        let memory = self.project.memory();
        let out_of_memory = || {
            Problem::new(format!(
                "cannot transpile `{}`: the pipeline needs more memory than its limit",
                relative(&path)
            ))
            .help("split the module, or raise the limit with `--js-heap`")
        };
        // The source lives on in the transpiler until there is code.
        let transpiling = memory.share(source.len()).ok_or_else(out_of_memory)?;
        let script =
            transpile_safely(url.as_str(), source, memory).map_err(|refusal| match refusal {
                Refusal::Memory => out_of_memory(),
                Refusal::Syntax(error) => Problem(Box::new(Diagnostic {
                    message: format!("syntax error: {}", error.message),
                    place: place_in(&self.project, &path, error.line, error.column),
                    ..Diagnostic::default()
                })),
            })?;
        drop(transpiling);
        // Each import with another query keeps a map of its own.
        let share = memory.share(script.source_map.len()).ok_or_else(out_of_memory)?;
        self.source_maps.borrow_mut().insert(url.to_string(), (script.source_map, share));
        Ok(script.code)
    }

    /// Keeps the problem for whoever started the load, and gives V8 its text.
    fn report<T>(&self, result: Result<T, Problem>) -> Result<T, ModuleLoaderError> {
        result.map_err(|Problem(diagnostic)| {
            let message = match &diagnostic.help {
                Some(help) => format!("{}; {help}", diagnostic.message),
                None => diagnostic.message.clone(),
            };
            *self.problem.borrow_mut() = Some((message.clone(), *diagnostic));
            JsErrorBox::type_error(message)
        })
    }
}

impl ModuleLoader for Loader {
    fn resolve(
        &self,
        specifier: &str,
        referrer: &str,
        kind: ResolutionKind,
    ) -> Result<ModuleSpecifier, ModuleLoaderError> {
        // The pipeline's own file comes as a URL, from a path that was checked before.
        if kind == ResolutionKind::MainModule {
            return Url::parse(specifier).map_err(JsErrorBox::from_err);
        }
        self.report(self.find(specifier, referrer).map_err(|mut problem| {
            let importer = Url::parse(referrer).ok().and_then(|url| url.to_file_path().ok());
            problem.0.place =
                importer.and_then(|path| place_of_import(&self.project, &path, specifier));
            problem
        }))
    }

    fn load(
        &self,
        url: &ModuleSpecifier,
        referrer: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        let result = self.read(url, &options.requested_module_type).map_err(|mut problem| {
            // The import is what the user has to look at, unless the file itself was read.
            if let (None, Some(referrer)) = (&problem.0.place, referrer) {
                problem.0.place = referrer.specifier.to_file_path().ok().and_then(|path| {
                    let line = usize::try_from(referrer.line_number).ok()?;
                    let column = usize::try_from(referrer.column_number).ok()?;
                    place_in(&self.project, &path, line, column)
                });
            }
            problem
        });
        ModuleLoadResponse::Sync(self.report(result))
    }

    fn get_source_map(&self, file_name: &str) -> Option<Cow<'_, [u8]>> {
        self.source_maps.borrow().get(file_name).map(|(map, _)| map.clone().into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TypeScript,
    JavaScript,
    Json,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, Problem> {
        let name = relative(path);
        match path.extension().and_then(|end| end.to_str()) {
            Some("ts" | "mts") => Ok(Self::TypeScript),
            Some("js" | "mjs") => Ok(Self::JavaScript),
            Some("json") => Ok(Self::Json),
            Some("cjs" | "cts") => Err(refused(&name, "it is a CommonJS module")),
            Some("tsx" | "jsx") => Err(refused(&name, "JSX is not supported")),
            _ => Err(refused(&name, "it ends with none of .ts, .mts, .js, .mjs and .json")),
        }
    }
}

fn is_relative(specifier: &str) -> bool {
    ["./", "../", "/"].iter().any(|start| specifier.starts_with(start))
        || matches!(specifier, "." | "..")
}
