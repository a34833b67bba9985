use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::{OpState, ToJsBuffer, op2};
use deno_error::JsErrorBox;
use serde::Deserialize;
use source::Selection;

use super::tasks::{join, not_started};
use super::volumes::VolumeInfo;
use crate::context::RunContext;
use crate::project::{ArtifactRequest, FilesError};
use crate::task_runner::TaskError;
use crate::volume::{VolumeName, VolumeNameError};

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SourceRequest {
    /// The name of an `--input`; the project otherwise.
    input: Option<String>,
    path: Option<String>,
    include: Vec<String>,
    exclude: Vec<String>,
    ignored: bool,
    git: bool,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FileRequest {
    volume: String,
    path: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct PublishRequest {
    name: String,
    volume: String,
    path: String,
    /// Whether the name is that of an `--output`, which says where it goes.
    is_output: bool,
}

/// Copies files of the project into a new volume.
#[op2]
#[serde]
pub async fn op_source_import(
    state: Rc<RefCell<OpState>>,
    #[serde] request: SourceRequest,
) -> Result<VolumeInfo, JsErrorBox> {
    let SourceRequest { input, path, include, exclude, ignored, git } = request;
    let selection = Selection { path: path.map(PathBuf::from), include, exclude, ignored, git };
    let volume = on_drivers_side(&state, async move |context| {
        context.files.import(input.as_deref(), selection).await
    });
    Ok(VolumeInfo::from(volume.await?))
}

/// Copies files of a volume to where the user finds them. Returns that path.
#[op2]
#[string]
pub async fn op_artifact_publish(
    state: Rc<RefCell<OpState>>,
    #[serde] request: PublishRequest,
) -> Result<String, JsErrorBox> {
    let PublishRequest { name, volume, path, is_output } = request;
    let (volume, path) = (named(volume)?, PathBuf::from(path));
    let request = ArtifactRequest { name, volume, path, is_output };
    let path = on_drivers_side(&state, async move |context| context.files.publish(request).await);
    Ok(path.await?.to_string_lossy().into_owned())
}

/// The content of a file of a volume.
#[op2]
#[serde]
pub async fn op_file_read(
    state: Rc<RefCell<OpState>>,
    #[serde] request: FileRequest,
) -> Result<ToJsBuffer, JsErrorBox> {
    let FileRequest { volume, path } = request;
    let volume = named(volume)?;
    let content = on_drivers_side(&state, async move |context| {
        context.files.read(&volume, PathBuf::from(path)).await
    });
    Ok(content.await?.into())
}

/// A hash over files of the project, in hex.
#[op2]
#[string]
pub async fn op_files_hash(
    state: Rc<RefCell<OpState>>,
    #[serde] patterns: Vec<String>,
) -> Result<String, JsErrorBox> {
    on_drivers_side(&state, async move |context| context.files.hash(patterns).await).await
}

fn named(volume: String) -> Result<VolumeName, JsErrorBox> {
    VolumeName::new(volume)
        .map_err(|error: VolumeNameError| JsErrorBox::type_error(error.to_string()))
}

/// Does something where drivers work.
fn on_drivers_side<T: Send + 'static, F>(
    state: &Rc<RefCell<OpState>>,
    work: impl FnOnce(Arc<RunContext>) -> F,
) -> impl Future<Output = Result<T, JsErrorBox>>
where
    F: Future<Output = Result<T, FilesError>> + Send + 'static,
{
    let context = state.borrow().borrow::<Arc<RunContext>>().clone();
    let (runtime, tasks) = (context.runtime.clone(), context.tasks.clone());
    let work = runtime.spawn(context.files.tracked(work(context.clone())));
    async move {
        join(work).await?.map_err(|error| match error {
            FilesError::Driver(error) => not_started(tasks.failed(error)),
            FilesError::Cancelled => not_started(TaskError::NotStarted {
                name: "the call".to_owned(),
                reason: tasks.why_stopped(),
            }),
            error => JsErrorBox::generic(error.to_string()),
        })
    }
}
