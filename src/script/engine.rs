//! One isolate on a thread of its own, from the snapshot to the pipeline's last promise.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use deno_core::error::{CoreError, CoreErrorKind};
use deno_core::url::Url;
use deno_core::{JsRuntime, ModuleSpecifier, PollEventLoopOptions, RuntimeOptions, v8};
use deno_error::JsErrorBox;
use tokio::sync::oneshot;

use super::error::{ScriptError, describe, describe_invalid, relative};
use super::heap::{HeapGuard, exhausted};
use super::loader::Loader;
use super::{buffers, extension, ops};
use crate::context::RunContext;
use crate::diagnostic::{Diagnostic, Place};
use crate::panic::ISOLATE_THREAD;
use crate::pipeline::Program;

static SNAPSHOT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/snapshot.bin"));

/// The stack of the isolate's thread, in bytes. V8 uses less than 1 MiB of it, but the parser of
/// TypeScript goes down with each level of nesting. Only what is used takes memory.
const STACK: usize = 256 * 1024 * 1024;

pub struct EngineOptions {
    pub program: Program,
    /// In bytes.
    pub heap_limit: u64,
}

/// A pipeline that is running.
pub struct Engine {
    outcome: oneshot::Receiver<Result<(), ScriptError>>,
    gave_up: oneshot::Receiver<()>,
    control: Arc<Control>,
    heap_limit: u64,
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
        let heap_limit = options.heap_limit;
        let shared = control.clone();
        std::thread::Builder::new()
            .name(ISOLATE_THREAD.into())
            .stack_size(STACK)
            .spawn(move || host(&options, context, &shared, settle, give_up))?;
        Ok(Self { outcome, gave_up, control, heap_limit })
    }

    /// How the pipeline ended.
    pub async fn outcome(&mut self) -> Result<(), ScriptError> {
        tokio::select! {
            biased;
            outcome = &mut self.outcome => outcome.unwrap_or_else(|_| {
                let message = "the JavaScript engine ended unexpectedly, for the reason above";
                Err(ScriptError::failed(Diagnostic::new(message)))
            }),
            Ok(()) = &mut self.gave_up => Err(exhausted(self.heap_limit)),
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
    context: oneshot::Receiver<Arc<RunContext>>,
    control: &Control,
    settle: oneshot::Sender<Result<(), ScriptError>>,
    give_up: oneshot::Sender<()>,
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
        let loader = Rc::new(Loader::default());
        let mut js = match create(options, loader.clone()) {
            Ok(js) => js,
            Err(error) => {
                _ = settle.send(broken(error.to_string()));
                return;
            }
        };
        let heap = HeapGuard::install(&mut js, give_up);
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

fn create(options: &EngineOptions, loader: Rc<Loader>) -> Result<JsRuntime, CoreError> {
    let mut extensions = extension::from_snapshot();
    extensions.push(ops::ci_ops::init());
    let limit = usize::try_from(options.heap_limit).unwrap_or(usize::MAX);
    let js = JsRuntime::try_new(RuntimeOptions {
        module_loader: Some(loader),
        extensions,
        startup_snapshot: Some(SNAPSHOT),
        create_params: Some(
            v8::CreateParams::default()
                .heap_limits(0, limit)
                .array_buffer_allocator(buffers::limited(limit)),
        ),
        ..RuntimeOptions::default()
    })?;
    Ok(js)
}

/// Loads the pipeline, calls it, and waits until it and its tasks have ended.
async fn run(
    js: &mut JsRuntime,
    loader: &Loader,
    options: &EngineOptions,
    context: oneshot::Receiver<Arc<RunContext>>,
) -> Result<(), ScriptError> {
    let invalid = |error: CoreError| {
        ScriptError::invalid(
            loader.problem_behind(&error).unwrap_or_else(|| describe_invalid(&error)),
        )
    };
    let failed = |error: CoreError| match error.as_kind() {
        CoreErrorKind::PendingPromiseResolution => stalled(None),
        CoreErrorKind::Js(js) if js.exception_message.contains(STALLED_TOP_LEVEL) => {
            stalled(describe(&error).place)
        }
        _ => {
            let mut problem = loader.problem_behind(&error).unwrap_or_else(|| describe(&error));
            if matches!(options.program, Program::Plan(_)) {
                // Nobody who wrote YAML could have caught it.
                let message = problem.message.trim_start_matches("uncaught Error: ");
                problem.message = message.to_owned();
            }
            ScriptError::failed(problem)
        }
    };

    let (caller, pipeline) = match &options.program {
        Program::Plan(plan) => {
            let pipeline = interpreted(js, plan).map_err(failed)?;
            let caller = begin(js, context).await?.map_err(failed)?;
            (caller, pipeline)
        }
        Program::Module(file) => {
            let url = url_of(file)?;
            let module = js.load_main_es_module(&url).await.map_err(invalid)?;
            let caller = begin(js, context).await?.map_err(failed)?;
            let evaluated = js.mod_evaluate(module);
            js.with_event_loop_promise(Box::pin(evaluated), PollEventLoopOptions::default())
                .await
                .map_err(failed)?;
            (caller, exported(js, module, &url)?)
        }
    };
    let call = js.call_with_args(&caller, &[pipeline]);
    js.with_event_loop_promise(Box::pin(call), PollEventLoopOptions::default())
        .await
        .map_err(failed)?;
    drain(js).await.map_err(failed)
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
) -> Result<Result<v8::Global<v8::Function>, CoreError>, ScriptError> {
    let Ok(context) = context.await else {
        return Err(ScriptError::Terminated);
    };
    js.op_state().borrow_mut().put(context);
    Ok(start(js))
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
    let options =
        EngineOptions { program: Program::Module(file.to_owned()), heap_limit: CHECK_HEAP };
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(error.to_string()))?;
        runtime.block_on(async {
            let loader = Rc::new(Loader::default());
            let mut js =
                create(&options, loader.clone()).map_err(|error| broken(error.to_string()))?;
            let loaded = js.load_main_es_module(&url).await;
            std::mem::forget(js);
            loaded.map(|_| ()).map_err(|error| {
                let known = loader.problem_behind(&error);
                ScriptError::invalid(known.unwrap_or_else(|| describe_invalid(&error)))
            })
        })
    };
    let thread = std::thread::Builder::new().name("pipeline".into()).stack_size(STACK).spawn(work);
    let joined = thread.map_err(|error| broken(error.to_string()))?.join();
    joined.unwrap_or_else(|_| Err(broken("it ended unexpectedly".to_owned())))
}

/// For reading modules, in bytes.
const CHECK_HEAP: u64 = 2 * 1024 * 1024 * 1024;

/// Takes the engine's own names off the global object. The result is what calls a pipeline.
fn start(js: &mut JsRuntime) -> Result<v8::Global<v8::Function>, CoreError> {
    let caller = js.execute_script("ext:ci/start", "__ciStart()")?;
    deno_core::scope!(scope, js);
    let caller = v8::Local::<v8::Function>::try_from(v8::Local::new(scope, caller))
        .map_err(|error| JsErrorBox::type_error(error.to_string()))?;
    Ok(v8::Global::new(scope, caller))
}

/// The function that the module exports as its pipeline.
fn exported(
    js: &mut JsRuntime,
    module: deno_core::ModuleId,
    url: &ModuleSpecifier,
) -> Result<v8::Global<v8::Value>, ScriptError> {
    let namespace =
        js.get_module_namespace(module).map_err(|error| ScriptError::failed(describe(&error)))?;
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
            wrong = Some((name, value.type_of(scope).to_rust_string_lossy(scope)));
        }
    }
    let names: Vec<String> = namespace
        .get_own_property_names(scope, v8::GetPropertyNamesArgs::default())
        .map(|names| {
            (0..names.length())
                .filter_map(|index| names.get_index(scope, index))
                .map(|name| format!("`{}`", name.to_rust_string_lossy(scope)))
                .collect()
        })
        .unwrap_or_default();
    let file = url.to_file_path().map_or_else(|()| url.to_string(), |path| relative(&path));
    let message = match wrong {
        Some((name, kind)) => format!("`{file}` exports a `{name}` that is {}", article(&kind)),
        None if names.is_empty() => format!("`{file}` exports no `pipeline`; it exports nothing"),
        None => format!("`{file}` exports no `pipeline`; it exports {}", names.join(", ")),
    };
    Err(ScriptError::invalid(
        Diagnostic::new(message).help("write `export const pipeline = async () => { … };`"),
    ))
}

fn article(kind: &str) -> String {
    match kind {
        "object" | "undefined" => format!("an {kind}, not a function"),
        _ => format!("a {kind}, not a function"),
    }
}

/// Goes on until the tasks have ended that the pipeline did not wait for, so that their failures
/// count. Timers alone do not keep a run alive.
async fn drain(js: &mut JsRuntime) -> Result<(), CoreError> {
    let state = js.op_state();
    std::future::poll_fn(|cx| {
        // What the last result sets off still has its turn before anybody looks at the number.
        let idle = state.borrow().borrow::<ops::Tasks>().is_empty();
        match js.poll_event_loop(cx, PollEventLoopOptions::default()) {
            Poll::Pending if idle && state.borrow().borrow::<ops::Tasks>().is_empty() => {
                Poll::Ready(Ok(()))
            }
            Poll::Pending if state.borrow().borrow::<ops::Tasks>().is_empty() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            turn => turn,
        }
    })
    .await
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
