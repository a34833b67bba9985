//! A working directory that several commands share, and that outlives each of them.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::directories::Lease;
use super::mounts::MountPlan;
use super::prepared_task::{TaskPlan, Work, WorkArea, owner};
use super::removing::removing;
use super::secrets::SecretPlan;
use super::shared::{Shared, blocking};
use super::task_supervisor::Scope;
use crate::driver::{DriverError, Sandbox, TaskEnd, UpdateSink, check, closed_sandbox};
use crate::task::{SandboxSpec, TaskSpec};

struct NativeSandbox {
    shared: Arc<Shared>,
    name: String,
    id: String,
    work: Work,
    /// Gone when the sandbox is.
    lease: Weak<Lease>,
    /// What runs in the sandbox.
    tasks: TaskTracker,
    /// What stays of commands that have ended.
    kept: TaskTracker,
    closing: CancellationToken,
    closed: CancellationToken,
}

pub async fn open(
    shared: &Arc<Shared>,
    spec: &SandboxSpec,
) -> Result<Arc<dyn Sandbox>, DriverError> {
    // Nothing is made any more when the end of all tasks has been waited for.
    let _here = shared.tasks.token();
    if shared.closing.is_cancelled() {
        return Err(DriverError::Refused(format!(
            "cannot open sandbox `{}`: the run is about to end",
            spec.name
        )));
    }
    shared.notify_ignored(&spec.container);
    check::variables(&spec.env, &spec.secret_env)?;
    let (work_dir, user) = (spec.work_dir.clone(), spec.user.clone());
    let (work, owner) = blocking(move || {
        Ok::<_, DriverError>((Work::new(work_dir.as_deref())?, owner(user.as_deref())?))
    })
    .await??;
    // Each command mounts them anew, and would find out only then.
    let mounts = MountPlan::new(&spec.container.mounts, |name| shared.volume(name))?;
    SecretPlan::new(&spec.container.secrets, &mounts, work.is_own())?;
    let lease = Arc::new(shared.directories.lease(&spec.name));
    let (made, with_work) = (lease.clone(), work.is_own());
    blocking(move || made.make(with_work, owner.as_ref())).await?.map_err(|source| {
        let context = format!("cannot make directories for sandbox `{}`", spec.name);
        DriverError::Io { context, source }
    })?;
    let sandbox = NativeSandbox {
        shared: shared.clone(),
        name: spec.name.clone(),
        id: lease.work.to_string_lossy().into_owned(),
        work,
        lease: Arc::downgrade(&lease),
        tasks: TaskTracker::new(),
        kept: TaskTracker::new(),
        closing: shared.closing.child_token(),
        closed: CancellationToken::new(),
    };
    let (tasks, kept) = (sandbox.tasks.clone(), sandbox.kept.clone());
    let (closing, closed) = (sandbox.closing.clone(), sandbox.closed.clone());
    let keeper = shared.clone();
    shared.tasks.spawn(async move {
        // Whatever happens below, nobody waits for a sandbox that is gone.
        let _closed = closed.drop_guard();
        closing.cancelled().await;
        tasks.close();
        tasks.wait().await;
        kept.close();
        tokio::select! {
            () = kept.wait() => {}
            () = keeper.closing.cancelled() => {}
        }
        // What cannot be removed now stays for the end of the run, which reports it.
        let clear = blocking(move || lease.clear(with_work));
        _ = removing(&keeper.location.directory.path, clear).await;
        keeper.sweep();
    });
    Ok(Arc::new(sandbox))
}

#[async_trait]
impl Sandbox for NativeSandbox {
    fn id(&self) -> &str {
        &self.id
    }

    async fn exec(
        &self,
        spec: &TaskSpec,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd {
        let plan = match TaskPlan::prepare(&self.shared, spec, Some(self.work.clone())).await {
            Ok(plan) => plan,
            Err(error) => return Err(error).into(),
        };
        let lease = self.lease.upgrade().filter(|_| !self.closing.is_cancelled());
        // What begins after a close that comes in between ends before it has made anything.
        let Some(lease) = lease else { return Err(closed_sandbox(&self.name)).into() };
        let Self { shared, tasks, kept, closing, .. } = self;
        let scope = Scope { shared, area: WorkArea::Shared(lease), tasks, kept, closing };
        scope.run(plan, updates, cancel).await
    }

    async fn close(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }
}
