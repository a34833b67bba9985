use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::{OpState, op2};
use deno_error::JsErrorBox;
use serde::{Deserialize, Serialize};

use super::secrets;
use super::tasks::{ContainerRequest, ExecutionRequest, join, not_started, start, too_much};
use crate::context::RunContext;
use crate::driver::Sandbox;
use crate::process::memory::{Memory, Share};
use crate::task::{ExecSpec, SandboxSpec};

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SandboxRequest {
    name: String,
    user: Option<String>,
    container: ContainerRequest,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SandboxInfo {
    /// How the other ops know it.
    number: u32,
    id: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ExecRequest {
    name: Option<String>,
    env: Vec<(String, String)>,
    /// Names of variables, and of their secrets.
    secret_env: Vec<(String, String)>,
    work_dir: Option<String>,
    execution: ExecutionRequest,
}

/// The sandboxes of the pipeline, open or closed.
#[derive(Default)]
pub struct Sandboxes(Vec<Open>);

#[derive(Clone)]
struct Open {
    spec: Arc<SandboxSpec>,
    sandbox: Arc<dyn Sandbox>,
    /// What the pipeline's memory holds of it, for as long as commands may be started in it.
    _memory: Arc<Share>,
}

#[op2]
#[serde]
pub async fn op_sandbox_open(
    state: Rc<RefCell<OpState>>,
    #[serde] request: SandboxRequest,
) -> Result<SandboxInfo, JsErrorBox> {
    let context = state.borrow().borrow::<Arc<RunContext>>().clone();
    let spec = Arc::new(request.container.sandbox(&context, request.name, request.user)?);
    let memory = state.borrow().borrow::<Arc<Memory>>().share(spec.size());
    let memory = Arc::new(memory.ok_or_else(too_much)?);
    let (tasks, asked) = (context.tasks.clone(), spec.clone());
    let opening = context.runtime.spawn(async move { tasks.open_sandbox(&asked).await });
    let sandbox = join(opening).await?.map_err(not_started)?;
    let id = sandbox.id().to_owned();
    let mut state = state.borrow_mut();
    let known = &mut state.borrow_mut::<Sandboxes>().0;
    let number = u32::try_from(known.len())
        .map_err(|_| JsErrorBox::generic("too many sandboxes in one run"))?;
    known.push(Open { spec, sandbox, _memory: memory });
    Ok(SandboxInfo { number, id })
}

/// Starts a command in a sandbox; the number is that of its task.
#[op2]
#[smi]
pub fn op_sandbox_exec(
    state: &mut OpState,
    #[smi] sandbox: u32,
    #[serde] request: ExecRequest,
) -> Result<u32, JsErrorBox> {
    let Open { spec, sandbox, .. } = find(state, sandbox)?;
    let ExecRequest { name, env, secret_env, work_dir, execution } = request;
    let context = state.borrow::<Arc<RunContext>>().clone();
    secrets::check_names(&context, work_dir.as_deref())?;
    let (env, secret_env) = secrets::variables(&context, env, secret_env)?;
    start(state, Some(sandbox), execution, |id, command, stdin| {
        spec.task(id, name, ExecSpec { command, env, secret_env, work_dir, stdin })
    })
}

/// Closes a sandbox, and waits for that if somebody else does.
#[op2]
pub async fn op_sandbox_close(
    state: Rc<RefCell<OpState>>,
    #[smi] sandbox: u32,
) -> Result<(), JsErrorBox> {
    let (context, Open { spec, sandbox, .. }) = {
        let state = state.borrow();
        (state.borrow::<Arc<RunContext>>().clone(), find(&state, sandbox)?)
    };
    let tasks = context.tasks.clone();
    let close = async move { tasks.close_sandbox(&spec, &*sandbox).await };
    join(context.runtime.spawn(close)).await
}

fn find(state: &OpState, sandbox: u32) -> Result<Open, JsErrorBox> {
    let known = &state.borrow::<Sandboxes>().0;
    usize::try_from(sandbox)
        .ok()
        .and_then(|number| known.get(number).cloned())
        .ok_or_else(|| JsErrorBox::generic(format!("there is no sandbox {sandbox}")))
}
