//! Creates the volumes of a run, each name once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::VolumeName;
use crate::context::EventSink;
use crate::driver::{Driver, DriverError, Volume};
use crate::event::RunEvent;

pub struct VolumeManager {
    driver: Arc<dyn Driver>,
    events: EventSink,
    volumes: Mutex<HashMap<VolumeName, Arc<OnceCell<Volume>>>>,
    anonymous: AtomicU64,
}

impl VolumeManager {
    pub fn new(driver: Arc<dyn Driver>, events: EventSink) -> Self {
        Self { driver, events, volumes: Mutex::default(), anonymous: AtomicU64::new(0) }
    }

    /// The volume of this name, created when it is asked for first; without a name, a new volume.
    ///
    /// However many ask for one name at the same time, it is created once.
    pub async fn create(
        &self,
        name: Option<VolumeName>,
        size: Option<u64>,
    ) -> Result<Volume, DriverError> {
        let name = name.unwrap_or_else(|| self.next_anonymous());
        let cell = {
            let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
            volumes.entry(name.clone()).or_default().clone()
        };
        let volume = cell
            .get_or_try_init(|| async {
                let volume = self.driver.create_volume(&name, size).await?;
                self.events
                    .send(RunEvent::VolumeCreated {
                        volume: name.to_string(),
                        path: volume.path.clone(),
                    })
                    .await;
                Ok(volume)
            })
            .await?;
        Ok(volume.clone())
    }

    /// A name that no pipeline has used so far.
    fn next_anonymous(&self) -> VolumeName {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let number = self.anonymous.fetch_add(1, Ordering::Relaxed) + 1;
            let name = VolumeName::new(format!("anonymous-{number}"))
                .expect("letters and digits are a volume name");
            if !volumes.contains_key(&name) {
                return name;
            }
        }
    }
}
