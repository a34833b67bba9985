//! One isolate on a thread of its own, from the snapshot to the pipeline's last promise.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::url::Url;
use deno_core::{JsRuntime, ModuleSpecifier, PollEventLoopOptions, RuntimeOptions, v8};
use deno_error::JsErrorBox;
use diagnostic::{Diagnostic, Place};
use tokio::sync::oneshot;

use super::entry::{self, Entry};
use super::error::{ScriptError, describe, describe_invalid, no_disposals, place_in};
use super::guard;
use super::heap::{HeapGuard, exhausted};
use super::loader::Loader;
use super::project::Project;
use super::shown_path::relative;
use super::transpiler::plain_values_safely;
use super::{buffers, extension, ops, settled};
use crate::context::RunContext;
use crate::pipeline::Program;
use crate::process::memory::Memory;
use crate::process::panic::ISOLATE_THREAD;

static SNAPSHOT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/snapshot.bin"));

/// The stack of the isolate's thread, in bytes. V8 uses less than 1 MiB of it, but the parser of
/// TypeScript goes down with each level of nesting. Only what is used takes memory.
const STACK: usize = 256 * 1024 * 1024;

pub struct EngineOptions {
    pub program: Program,
    /// The directory of the project, absolute and without symbolic links.
    pub root: PathBuf,
    /// In bytes.
    pub heap_limit: u64,
}

/// A pipeline that is running.
pub struct Engine {
    outcome: oneshot::Receiver<Result<(), ScriptError>>,
    gave_up: oneshot::Receiver<()>,
    control: Arc<Control>,
    memory: Arc<Memory>,
}

/// How other threads end the isolate's work.
#[derive(Default)]
struct Control {
    terminated: AtomicBool,
    isolate: OnceLock<v8::IsolateHandle>,
}

impl Engine {
    /// Starts to load the pipeline at once; its code runs as soon as there is a `context`.
    pub fn start(
        options: EngineOptions,
        context: oneshot::Receiver<Arc<RunContext>>,
    ) -> std::io::Result<Self> {
        let (settle, outcome) = oneshot::channel();
        let (give_up, gave_up) = oneshot::channel();
        let control = Arc::new(Control::default());
        let memory = Memory::new(options.heap_limit);
        let (shared, limited) = (control.clone(), memory.clone());
        std::thread::Builder::new().name(ISOLATE_THREAD.into()).stack_size(STACK).spawn(
            move || {
                guard::report_to(give_up);
                host(&options, limited, context, &shared, settle);
            },
        )?;
        Ok(Self { outcome, gave_up, control, memory })
    }

    /// How the pipeline ended.
    pub async fn outcome(&mut self) -> Result<(), ScriptError> {
        let outcome = self.settled().await;
        if outcome.is_err() {
            self.terminate();
        }
        outcome
    }

    async fn settled(&mut self) -> Result<(), ScriptError> {
        tokio::select! {
            biased;
            outcome = &mut self.outcome => outcome.unwrap_or_else(|_| {
                let message = "the JavaScript engine ended unexpectedly, for the reason above";
                Err(ScriptError::failed(Diagnostic::new(message)))
            }),
            Ok(()) = &mut self.gave_up => Err(exhausted(self.memory.limit())),
            () = self.memory.exceeded() => Err(exhausted(self.memory.limit())),
        }
    }

    /// Ends the pipeline's code, also within an endless loop.
    pub fn terminate(&self) {
        self.control.terminated.store(true, Ordering::SeqCst);
        if let Some(isolate) = self.control.isolate.get() {
            isolate.terminate_execution();
        }
    }
}

/// The life of the isolate's thread.
fn host(
    options: &EngineOptions,
    memory: Arc<Memory>,
    context: oneshot::Receiver<Arc<RunContext>>,
    control: &Control,
    settle: oneshot::Sender<Result<(), ScriptError>>,
) {
    let broken = |reason: String| {
        let message = format!("cannot start the JavaScript engine: {reason}");
        Err(ScriptError::failed(Diagnostic::new(message)))
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            _ = settle.send(broken(error.to_string()));
            return;
        }
    };
    runtime.block_on(async {
        let project = match &options.program {
            Program::Module(file) => Project::named(&options.root, file, memory.clone()),
            Program::Plan(_) => Project::none(memory.clone()),
        };
        let loader = Rc::new(Loader::new(project));
        let mut js = match create(&memory, loader.clone()) {
            Ok(js) => js,
            Err(error) => {
                _ = settle.send(broken(error.to_string()));
                return;
            }
        };
        let heap = HeapGuard::install(&mut js, memory);
        _ = control.isolate.set(js.v8_isolate().thread_safe_handle());
        let outcome = run(&mut js, &loader, options, context).await;
        _ = settle.send(match outcome {
            Err(_) if heap.is_full() => Err(exhausted(options.heap_limit)),
            Err(_) if control.terminated.load(Ordering::SeqCst) => Err(ScriptError::Terminated),
            outcome => outcome,
        });
        // The process is about to end; taking the heap apart first would only delay that.
        std::mem::forget(js);
    });
}

fn create(memory: &Arc<Memory>, loader: Rc<Loader>) -> Result<JsRuntime, CoreError> {
    let mut extensions = extension::from_snapshot();
    extensions.push(ops::ci_ops::init());
    let limit = usize::try_from(memory.limit()).unwrap_or(usize::MAX);
    let js = JsRuntime::try_new(RuntimeOptions {
        module_loader: Some(loader),
        extensions,
        startup_snapshot: Some(SNAPSHOT),
        create_params: Some(
            v8::CreateParams::default()
                .heap_limits(0, limit)
                .array_buffer_allocator(buffers::limited(memory.clone())),
        ),
        ..RuntimeOptions::default()
    })?;
    js.op_state().borrow_mut().put(memory.clone());
    Ok(js)
}

/// Why a pipeline's run has ended, before anybody has put it into words.
enum Failure {
    /// The module cannot be run.
    Invalid(CoreError),
    /// It ran and threw.
    Thrown(CoreError),
    /// Somebody has put it into words already.
    Told(ScriptError),
}

impl From<ScriptError> for Failure {
    fn from(error: ScriptError) -> Self {
        Self::Told(error)
    }
}

/// Loads the pipeline, calls it, and waits until it and its tasks have ended.
async fn run(
    js: &mut JsRuntime,
    loader: &Loader,
    options: &EngineOptions,
    context: oneshot::Receiver<Arc<RunContext>>,
) -> Result<(), ScriptError> {
    let mut entry = None;
    let failure = match evaluate(js, loader, options, context, &mut entry).await {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    let project = loader.project();
    Err(match failure {
        Failure::Told(error) => error,
        Failure::Invalid(error) => ScriptError::invalid(
            loader
                .problem_behind(&error)
                .or_else(|| loader.too_deep(&error))
                .unwrap_or_else(|| describe_invalid(project, &error)),
        ),
        Failure::Thrown(error) => match error.as_kind() {
            CoreErrorKind::PendingPromiseResolution => stalled(None),
            CoreErrorKind::Js(thrown) if thrown.exception_message.contains(STALLED_TOP_LEVEL) => {
                stalled(describe(project, &error, &mut no_disposals).place)
            }
            _ => {
                let mut disposals = |number| match &entry {
                    Some(entry) => disposal(js, entry, number),
                    None => Vec::new(),
                };
                let mut problem = loader
                    .problem_behind(&error)
                    .unwrap_or_else(|| describe(project, &error, &mut disposals));
                if matches!(options.program, Program::Plan(_)) {
                    // Nobody who wrote YAML could have caught it.
                    let message = problem.message.trim_start_matches("uncaught Error: ");
                    problem.message = message.to_owned();
                }
                ScriptError::failed(problem)
            }
        },
    })
}

/// Does what `run` promises. `entry` is what the runtime's own scripts hand over on the way.
async fn evaluate(
    js: &mut JsRuntime,
    loader: &Loader,
    options: &EngineOptions,
    context: oneshot::Receiver<Arc<RunContext>>,
    handed_over: &mut Option<Entry>,
) -> Result<(), Failure> {
    let pipeline = match &options.program {
        Program::Plan(plan) => {
            let pipeline = interpreted(js, plan).map_err(Failure::Thrown)?;
            *handed_over = Some(begin(js, context).await?.map_err(Failure::Thrown)?);
            pipeline
        }
        Program::Module(file) => {
            let url = url_of(file)?;
            let module = js.load_main_es_module(&url).await.map_err(Failure::Invalid)?;
            *handed_over = Some(begin(js, context).await?.map_err(Failure::Thrown)?);
            let evaluated = js.mod_evaluate(module);
            js.with_event_loop_promise(Box::pin(evaluated), PollEventLoopOptions::default())
                .await
                .map_err(Failure::Thrown)?;
            exported(js, loader.project(), module, &url)?
        }
    };
    let Some(entry) = handed_over else { return Ok(()) };
    let call = js.call_with_args(&entry.call, &[pipeline]);
    js.with_event_loop_promise(Box::pin(call), PollEventLoopOptions::default())
        .await
        .map_err(Failure::Thrown)?;
    let problem = settled::problem(js, loader.project(), entry).await;
    match problem.map_err(Failure::Thrown)? {
        Some(problem) => Err(ScriptError::failed(problem).into()),
        None => Ok(()),
    }
}

/// The errors behind a `SuppressedError`, by the number in its message.
fn disposal(js: &mut JsRuntime, entry: &Entry, number: u32) -> Vec<JsError> {
    deno_core::scope!(scope, js);
    let number = v8::Integer::new_from_unsigned(scope, number).into();
    let errors = entry::list(scope, &entry.disposal, &[number]).unwrap_or_default();
    errors.into_iter().map(|error| *JsError::from_v8_exception(scope, error)).collect()
}

fn url_of(file: &Path) -> Result<Url, ScriptError> {
    Url::from_file_path(file).map_err(|()| {
        let message = format!("`{}` is not an absolute path", file.display());
        ScriptError::invalid(Diagnostic::new(message))
    })
}

/// Waits for what the run's tasks need, and makes the isolate ready for a pipeline's code.
async fn begin(
    js: &mut JsRuntime,
    context: oneshot::Receiver<Arc<RunContext>>,
) -> Result<Result<Entry, CoreError>, ScriptError> {
    let Ok(context) = context.await else {
        return Err(ScriptError::Terminated);
    };
    js.op_state().borrow_mut().put(context);
    Ok(Entry::start(js))
}

/// The pipeline that a plan describes.
fn interpreted(js: &mut JsRuntime, plan: &str) -> Result<v8::Global<v8::Value>, CoreError> {
    let interpret = js.execute_script("ext:ci/interpret", "__ciInterpret")?;
    deno_core::scope!(scope, js);
    let interpret = v8::Local::<v8::Function>::try_from(v8::Local::new(scope, interpret))
        .map_err(|error| JsErrorBox::type_error(error.to_string()))?;
    let pipeline = v8::String::new(scope, plan).and_then(|text| {
        let this = v8::undefined(scope);
        interpret.call(scope, this.into(), &[text.into()])
    });
    match pipeline {
        Some(pipeline) => Ok(v8::Global::new(scope, pipeline)),
        None => Err(JsErrorBox::generic("the plan is too large to be interpreted").into()),
    }
}

/// Reads a module and all that it imports, without running any of it.
pub fn check(file: &Path) -> Result<(), ScriptError> {
    let broken = |reason: String| {
        let message = format!("cannot start the JavaScript engine: {reason}");
        ScriptError::failed(Diagnostic::new(message))
    };
    let url = url_of(file)?;
    let file = file.to_owned();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(error.to_string()))?;
        runtime.block_on(async {
            let memory = Memory::new(CHECK_HEAP);
            let loader = Rc::new(Loader::new(Project::of(&file, memory.clone())));
            let mut js =
                create(&memory, loader.clone()).map_err(|error| broken(error.to_string()))?;
            let loaded = js.load_main_es_module(&url).await;
            let checked = match loaded {
                Ok(module) => names_a_pipeline(&mut js, loader.project(), module, &url, &file),
                Err(error) => {
                    let known = loader.problem_behind(&error).or_else(|| loader.too_deep(&error));
                    Err(ScriptError::invalid(
                        known.unwrap_or_else(|| describe_invalid(loader.project(), &error)),
                    ))
                }
            };
            std::mem::forget(js);
            checked
        })
    };
    let thread = std::thread::Builder::new().name("pipeline".into()).stack_size(STACK).spawn(work);
    let joined = thread.map_err(|error| broken(error.to_string()))?.join();
    joined.unwrap_or_else(|_| Err(broken("it ended unexpectedly".to_owned())))
}

/// For reading modules, in bytes.
const CHECK_HEAP: u64 = 2 * 1024 * 1024 * 1024;

/// The function that the module exports as its pipeline.
fn exported(
    js: &mut JsRuntime,
    project: &Project,
    module: deno_core::ModuleId,
    url: &ModuleSpecifier,
) -> Result<v8::Global<v8::Value>, ScriptError> {
    let namespace = js
        .get_module_namespace(module)
        .map_err(|error| ScriptError::failed(describe(project, &error, &mut no_disposals)))?;
    deno_core::scope!(scope, js);
    let namespace = v8::Local::new(scope, namespace);
    let mut wrong = None;
    for name in ["pipeline", "default"] {
        let Some(key) = v8::String::new(scope, name) else { continue };
        let Some(value) = namespace.get(scope, key.into()) else { continue };
        if value.is_function() {
            return Ok(v8::Global::new(scope, value));
        }
        if !value.is_undefined() && wrong.is_none() {
            wrong = Some((name.to_owned(), value.type_of(scope).to_rust_string_lossy(scope)));
        }
    }
    let names = names_of(scope, namespace);
    let file = shown(url);
    Err(ScriptError::invalid(not_exported(&file, wrong, &names)))
}

/// Checks without running the module that it exports something that may be a pipeline.
fn names_a_pipeline(
    js: &mut JsRuntime,
    project: &Project,
    module: deno_core::ModuleId,
    url: &ModuleSpecifier,
    path: &Path,
) -> Result<(), ScriptError> {
    let namespace = js
        .get_module_namespace(module)
        .map_err(|error| ScriptError::failed(describe(project, &error, &mut no_disposals)))?;
    let names = {
        deno_core::scope!(scope, js);
        let namespace = v8::Local::new(scope, namespace);
        names_of(scope, namespace)
    };
    let file = shown(url);
    let candidates = ["pipeline", "default"];
    if !names.iter().any(|name| candidates.contains(&name.as_str())) {
        return Err(ScriptError::invalid(not_exported(&file, None, &names)));
    }
    let Ok(source) = project.read(path) else { return Ok(()) };
    let values = plain_values_safely(&source, project.memory());
    let is_function = |name: &&str| {
        names.iter().any(|known| known == name) && !values.iter().any(|value| value.name == **name)
    };
    if candidates.iter().any(is_function) {
        return Ok(());
    }
    match values.into_iter().find(|value| candidates.contains(&value.name.as_str())) {
        Some(value) => {
            let mut problem =
                not_exported(&file, Some((value.name, value.kind.into_owned())), &names);
            problem.place = place_in(project, path, value.line, value.column);
            Err(ScriptError::invalid(problem))
        }
        None => Ok(()),
    }
}

fn shown(url: &ModuleSpecifier) -> String {
    url.to_file_path().map_or_else(|()| url.to_string(), |path| relative(&path))
}

fn names_of(scope: &mut v8::PinScope<'_, '_>, namespace: v8::Local<'_, v8::Object>) -> Vec<String> {
    // Whether a property is enumerable cannot be asked before the module has run.
    let all = v8::GetPropertyNamesArgsBuilder::new()
        .property_filter(v8::PropertyFilter::SKIP_SYMBOLS)
        .build();
    let Some(names) = namespace.get_own_property_names(scope, all) else { return Vec::new() };
    (0..names.length())
        .filter_map(|index| names.get_index(scope, index))
        .map(|name| name.to_rust_string_lossy(scope))
        .collect()
}

/// `wrong` is the export of the right name that is no function, and what it is.
fn not_exported(file: &str, wrong: Option<(String, String)>, names: &[String]) -> Diagnostic {
    let listed: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let message = match wrong {
        Some((name, kind)) => format!("`{file}` exports a `{name}` that is {}", article(&kind)),
        None if names.is_empty() => format!("`{file}` exports no `pipeline`; it exports nothing"),
        None => format!("`{file}` exports no `pipeline`; it exports {}", listed.join(", ")),
    };
    Diagnostic::new(message).help("write `export const pipeline = async () => { … };`")
}

fn article(kind: &str) -> String {
    match kind {
        "object" | "undefined" => format!("an {kind}, not a function"),
        _ => format!("a {kind}, not a function"),
    }
}

/// How V8 words what `stalled` says, for an `await` outside of any function.
const STALLED_TOP_LEVEL: &str = "Top-level await promise never resolved";

fn stalled(place: Option<Place>) -> ScriptError {
    let diagnostic = Diagnostic {
        place,
        ..Diagnostic::new("the pipeline waits for a promise that can no longer settle")
    };
    ScriptError::failed(diagnostic.help(
        "nothing is running that could settle it: look for a promise whose `resolve` is never \
         called, or an `await` on the wrong value",
    ))
}
