use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use deno_core::{JsBuffer, OpState, op2};
use deno_error::JsErrorBox;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::secrets;
use crate::context::RunContext;
use crate::driver::Sandbox;
use crate::process::masking;
use crate::process::memory::Memory;
use crate::task::{
    Command, ContainerSpec, ExecSpec, Limits, Mount, SandboxSpec, Stream, TaskExit, TaskId,
    TaskSpec,
};
use crate::task_runner::{TaskError, TaskOptions, TaskResult as Finished, TextChunk};
use crate::volume::VolumeName;

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TaskRequest {
    name: String,
    container: ContainerRequest,
    execution: ExecutionRequest,
}

/// Where something runs.
#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ContainerRequest {
    image: String,
    env: Vec<(String, String)>,
    /// Names of variables, and of their secrets.
    secret_env: Vec<(String, String)>,
    mounts: Vec<MountRequest>,
    /// Paths of files, and names of the secrets in them.
    secrets: Vec<(String, String)>,
    work_dir: Option<String>,
    privileged: bool,
    /// Whether it reaches no network.
    offline: bool,
    limits: LimitsRequest,
}

/// What runs, and how.
#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ExecutionRequest {
    command: CommandRequest,
    /// What the command was made of, if the pipeline gave a script.
    script: Option<String>,
    #[cfg_attr(test, ts(type = "Uint8Array | null"))]
    stdin: Option<JsBuffer>,
    /// The name of the secret that the command reads instead.
    secret_stdin: Option<String>,
    timeout_ms: Option<f64>,
    /// The timeout of a step, if the task's is what is left of that. It counts from this call then, and not
    /// from the start of the command.
    left_of_ms: Option<f64>,
    /// Whether it starts although the run is to end.
    cleanup: bool,
    /// Whether the pipeline tries again if it fails.
    will_retry: bool,
    /// Whether the output is asked for with `op_task_output` while the task runs.
    stream_output: bool,
    /// The step of a pipeline in YAML that it belongs to.
    step: Option<u32>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CommandRequest {
    path: String,
    args: Vec<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MountRequest {
    volume: String,
    path: String,
    read_only: bool,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LimitsRequest {
    /// In cores.
    cpu: Option<f64>,
    /// In bytes.
    memory: Option<f64>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TaskResult {
    code: i32,
    stdout: String,
    stderr: String,
    #[cfg_attr(test, ts(type = "\"complete\" | \"abort\""))]
    status: &'static str,
    signal: Option<&'static str>,
    timed_out: bool,
    message: String,
    duration_ms: f64,
    truncated: bool,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct OutputChunk {
    #[cfg_attr(test, ts(type = "\"stdout\" | \"stderr\""))]
    stream: Stream,
    data: String,
}

/// The tasks that the pipeline has started and not yet asked the result of.
#[derive(Default)]
pub struct Tasks(HashMap<u32, Started>);

impl Tasks {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Started {
    result: Option<JoinHandle<Result<Finished, TaskError>>>,
    output: Option<Rc<Mutex<mpsc::Receiver<TextChunk>>>>,
}

/// Starts a task; the number is how the other ops know it.
#[op2]
#[smi]
pub fn op_task_start(
    state: &mut OpState,
    #[serde] request: TaskRequest,
) -> Result<u32, JsErrorBox> {
    let TaskRequest { name, container, execution } = request;
    let context = state.borrow::<Arc<RunContext>>().clone();
    let SandboxSpec { name, container, env, secret_env, work_dir, user: _ } =
        container.sandbox(&context, name, None)?;
    start(state, None, execution, |id, command, stdin| {
        let exec = ExecSpec { command, env, secret_env, work_dir, stdin };
        TaskSpec { id, name, container, exec, keep: false }
    })
}

/// Starts the task that comes out of a command and what that reads.
pub fn start(
    state: &mut OpState,
    sandbox: Option<Arc<dyn Sandbox>>,
    execution: ExecutionRequest,
    task: impl FnOnce(TaskId, Command, Option<Vec<u8>>) -> TaskSpec,
) -> Result<u32, JsErrorBox> {
    let ExecutionRequest {
        command,
        script,
        stdin,
        secret_stdin,
        timeout_ms,
        left_of_ms,
        cleanup,
        will_retry,
        stream_output,
        step,
    } = execution;
    let context = state.borrow::<Arc<RunContext>>().clone();
    let id = context.tasks.next_id();
    let key = u32::try_from(id.0).map_err(|_| JsErrorBox::generic("too many tasks in one run"))?;
    let duration = |ms: Option<f64>| {
        ms.map(|ms| Duration::try_from_secs_f64(ms / 1000.0))
            .transpose()
            .map_err(|error| JsErrorBox::type_error(format!("timeout: {error}")))
    };
    let (timeout, left_of) = (duration(timeout_ms)?, duration(left_of_ms)?);
    let (listener, output) = match stream_output {
        true => {
            let (sender, receiver) = mpsc::channel(1);
            (Some(sender), Some(Rc::new(Mutex::new(receiver))))
        }
        false => (None, None),
    };
    let CommandRequest { path, args, user } = command;
    // Before the copy is made, so that there is none when it would be too much.
    let memory = state.borrow::<Arc<Memory>>();
    let read = stdin.as_ref().map_or(0, |bytes| bytes.len());
    let mut memory = memory.share(read).ok_or_else(too_much)?;
    let stdin = match secret_stdin {
        Some(name) => Some(secrets::bytes(&context, &name)?),
        None => stdin.map(|bytes| bytes.to_vec()),
    };
    let command = Command { path, args, user };
    // A script's code has no value to put there, but a document has.
    if step.is_some() {
        secrets::check_command(&context, &command)?;
    }
    let mut spec = task(id, command, stdin);
    // Drivers show it, as in the label of a container.
    masking::hide(&mut spec.name);
    if !memory.grow(spec.size()) {
        return Err(too_much());
    }
    let (memory, step) = (Some(memory), step.map(u64::from));
    let options = TaskOptions {
        timeout,
        left_of,
        cleanup,
        will_retry,
        script,
        sandbox,
        listener,
        memory,
        step,
    };
    let task = context.runtime.spawn(context.tasks.start(spec, options));
    state.borrow_mut::<Tasks>().0.insert(key, Started { result: Some(task), output });
    Ok(key)
}

/// The error of a pipeline that asks for more tasks than it has memory for.
pub fn too_much() -> JsErrorBox {
    JsErrorBox::range_error(
        "the pipeline needs more memory than its limit for what its tasks read, start fewer at a time \
         or raise the limit with `--js-heap`",
    )
}

/// The next chunk of a task's output; `null` when there will be no more.
#[op2]
#[serde]
pub async fn op_task_output(
    state: Rc<RefCell<OpState>>,
    #[smi] task: u32,
) -> Result<Option<OutputChunk>, JsErrorBox> {
    let output = {
        let state = state.borrow();
        let started = state.borrow::<Tasks>().0.get(&task);
        started.and_then(|started| started.output.clone()).ok_or_else(|| unknown(task))?
    };
    let chunk = output.lock().await.recv().await;
    Ok(chunk.map(|(stream, text)| OutputChunk {
        stream,
        data: Arc::try_unwrap(text).unwrap_or_else(|text| text.as_ref().clone()),
    }))
}

/// How a task ended. Its number is not valid any more after that.
#[op2]
#[serde]
pub async fn op_task_wait(
    state: Rc<RefCell<OpState>>,
    #[smi] task: u32,
) -> Result<TaskResult, JsErrorBox> {
    let result = {
        let mut state = state.borrow_mut();
        let started = state.borrow_mut::<Tasks>().0.get_mut(&task);
        started.and_then(|started| started.result.take()).ok_or_else(|| unknown(task))?
    };
    let result = join(result).await;
    state.borrow_mut().borrow_mut::<Tasks>().0.remove(&task);
    let result = result?.map_err(not_started)?;
    Ok(TaskResult {
        code: result.code,
        stdout: result.stdout,
        stderr: result.stderr,
        status: if result.exit == TaskExit::Cancelled { "abort" } else { "complete" },
        signal: result.signal,
        timed_out: result.timed_out,
        message: result.message,
        duration_ms: (result.duration.as_secs_f64() * 1e6).round() / 1e3,
        truncated: result.truncated,
    })
}

/// Ends a task that is running. Unless somebody listens, what it still writes is not asked for any more.
#[op2(fast)]
pub fn op_task_cancel(state: &mut OpState, #[smi] task: u32, listens: bool) {
    if let Some(started) = state.borrow_mut::<Tasks>().0.get_mut(&task).filter(|_| !listens) {
        started.output = None;
    }
    state.borrow::<Arc<RunContext>>().tasks.cancel(TaskId(task.into()));
}

/// Waits for something that runs on the drivers' side.
pub async fn join<T>(task: JoinHandle<T>) -> Result<T, JsErrorBox> {
    task.await.map_err(|error| JsErrorBox::generic(format!("the driver gave up: {error}")))
}

fn unknown(task: u32) -> JsErrorBox {
    JsErrorBox::generic(format!("task {task} is not running"))
}

/// The error for what did not start.
pub fn not_started(error: TaskError) -> JsErrorBox {
    match error {
        TaskError::NotStarted { .. } => JsErrorBox::new("AbortError", error.to_string()),
        TaskError::Driver(error) => JsErrorBox::generic(error.to_string()),
    }
}

impl ContainerRequest {
    pub fn sandbox(
        self,
        context: &RunContext,
        mut name: String,
        user: Option<String>,
    ) -> Result<SandboxSpec, JsErrorBox> {
        masking::hide(&mut name);
        let paths = self.mounts.iter().flat_map(|mount| [&*mount.volume, &*mount.path]);
        secrets::check_names(context, paths.chain(self.work_dir.as_deref()))?;
        let (env, secret_env) = secrets::variables(context, self.env, self.secret_env)?;
        let files = secrets::files(context, self.secrets)?;
        let mounts = self
            .mounts
            .into_iter()
            .map(|MountRequest { volume, path, read_only }| {
                let volume = VolumeName::new(volume)?;
                Ok(Mount { volume, path: PathBuf::from(path), read_only })
            })
            .collect::<Result<_, crate::volume::VolumeNameError>>()
            .map_err(|error| JsErrorBox::type_error(format!("mounts: {error}")))?;
        let limits =
            Limits { cpu: self.limits.cpu, memory: self.limits.memory.map(|bytes| bytes as u64) };
        let (image, privileged, offline) = (self.image, self.privileged, self.offline);
        let container =
            ContainerSpec { image, mounts, secrets: files, privileged, offline, limits };
        Ok(SandboxSpec { name, container, user, env, secret_env, work_dir: self.work_dir })
    }
}
