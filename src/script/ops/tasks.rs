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

use crate::context::RunContext;
use crate::task::{Command, Limits, Mount, Stream, TaskExit, TaskId, TaskSpec};
use crate::task_runner::{TaskError, TaskOptions, TaskResult as Finished, TextChunk};
use crate::volume::VolumeName;

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TaskRequest {
    name: String,
    image: String,
    command: CommandRequest,
    env: Vec<(String, String)>,
    mounts: Vec<MountRequest>,
    work_dir: Option<String>,
    #[cfg_attr(test, ts(type = "Uint8Array | null"))]
    stdin: Option<JsBuffer>,
    timeout_ms: Option<f64>,
    privileged: bool,
    limits: LimitsRequest,
    /// Whether it starts although the run is to end.
    cleanup: bool,
    /// Whether the output is asked for with `op_task_output` while the task runs.
    stream_output: bool,
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
pub struct MountRequest {
    volume: String,
    path: String,
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
    let context = state.borrow::<Arc<RunContext>>().clone();
    let id = context.tasks.next_id();
    let key = u32::try_from(id.0).map_err(|_| JsErrorBox::generic("too many tasks in one run"))?;
    let timeout = request
        .timeout_ms
        .map(|ms| Duration::try_from_secs_f64(ms / 1000.0))
        .transpose()
        .map_err(|error| JsErrorBox::type_error(format!("runtime.run: timeout: {error}")))?;
    let (listener, output) = match request.stream_output {
        true => {
            let (sender, receiver) = mpsc::channel(1);
            (Some(sender), Some(Rc::new(Mutex::new(receiver))))
        }
        false => (None, None),
    };
    let options = TaskOptions { timeout, cleanup: request.cleanup, listener };
    let spec = spec(id, request)?;
    let task = context.runtime.spawn(context.tasks.start(spec, options));
    state.borrow_mut::<Tasks>().0.insert(key, Started { result: Some(task), output });
    Ok(key)
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
    let result = result?.map_err(|error| match error {
        TaskError::NotStarted { .. } => JsErrorBox::new("AbortError", error.to_string()),
        TaskError::Driver(error) => JsErrorBox::generic(error.to_string()),
    })?;
    Ok(TaskResult {
        code: result.code,
        stdout: result.stdout,
        stderr: result.stderr,
        status: if result.exit == TaskExit::Cancelled { "abort" } else { "complete" },
        message: result.message,
        duration_ms: (result.duration.as_secs_f64() * 1e6).round() / 1e3,
        truncated: result.truncated,
    })
}

/// Ends a task that is running. What it still writes is not asked for any more.
#[op2(fast)]
pub fn op_task_cancel(state: &mut OpState, #[smi] task: u32) {
    if let Some(started) = state.borrow_mut::<Tasks>().0.get_mut(&task) {
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

fn spec(id: TaskId, request: TaskRequest) -> Result<TaskSpec, JsErrorBox> {
    let mounts = request
        .mounts
        .into_iter()
        .map(|mount| {
            Ok(Mount { volume: VolumeName::new(mount.volume)?, path: PathBuf::from(mount.path) })
        })
        .collect::<Result<_, crate::volume::VolumeNameError>>()
        .map_err(|error| JsErrorBox::type_error(format!("runtime.run: mounts: {error}")))?;
    Ok(TaskSpec {
        id,
        name: request.name,
        image: request.image,
        command: Command {
            path: request.command.path,
            args: request.command.args,
            user: request.command.user,
        },
        env: request.env,
        mounts,
        work_dir: request.work_dir,
        stdin: request.stdin.map(|bytes| bytes.to_vec()),
        privileged: request.privileged,
        limits: Limits {
            cpu: request.limits.cpu,
            memory: request.limits.memory.map(|bytes| bytes as u64),
        },
    })
}
