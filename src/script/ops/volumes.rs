use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::{OpState, op2};
use deno_error::JsErrorBox;
use serde::{Deserialize, Serialize};

use super::secrets;
use super::tasks::{join, not_started};
use crate::context::RunContext;
use crate::driver::Volume;
use crate::volume::VolumeName;

#[derive(Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct VolumeRequest {
    name: Option<String>,
    /// In bytes.
    size: Option<f64>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct VolumeInfo {
    name: String,
    path: String,
}

/// Creates a volume, or finds the one that has the name already.
#[op2]
#[serde]
pub async fn op_volume_create(
    state: Rc<RefCell<OpState>>,
    #[serde] request: VolumeRequest,
) -> Result<VolumeInfo, JsErrorBox> {
    let context = state.borrow().borrow::<Arc<RunContext>>().clone();
    secrets::check_names(&context, request.name.as_deref())?;
    let name = request
        .name
        .map(VolumeName::new)
        .transpose()
        .map_err(|error| JsErrorBox::type_error(error.to_string()))?;
    let size = request.size.map(|bytes| bytes as u64);
    let runtime = context.runtime.clone();
    let create = async move {
        let created = context.volumes.create(name, size).await;
        created.map_err(|error| context.tasks.failed(error))
    };
    let volume = join(runtime.spawn(create)).await?.map_err(not_started)?;
    Ok(VolumeInfo::from(volume))
}

impl From<Volume> for VolumeInfo {
    fn from(volume: Volume) -> Self {
        Self { name: volume.name.to_string(), path: volume.path }
    }
}

/// Why a text is no volume name; `None` when it is one.
#[op2]
#[string]
pub fn op_volume_name_error(#[string] name: &str) -> Option<String> {
    VolumeName::new(name).err().map(|error| error.to_string())
}
